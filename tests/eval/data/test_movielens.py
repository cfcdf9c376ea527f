"""MovieLens releases: CSV and `::` files, folders and zips."""

from __future__ import annotations

import gzip
import os
import zipfile
from pathlib import Path

import pytest

from webrec.errors import InputError
from webrec.eval.data.source import find_source

MOVIES = 'movieId,title,genres\n1,Toy Story (1995),Adventure|Comedy\n2,"Postino, Il (1994)",(no genres listed)\n'
RATINGS = "userId,movieId,rating,timestamp\n7,2,3.5,200\n7,1,4.0,100\n8,1,5.0,50\n"


def release(folder: Path, movies: str = MOVIES, ratings: str = RATINGS) -> Path:
    (folder / "ml-latest-small").mkdir(parents=True)
    (folder / "ml-latest-small" / "movies.csv").write_text(movies, encoding="utf-8")
    (folder / "ml-latest-small" / "ratings.csv").write_text(ratings, encoding="utf-8")
    return folder


def test_csv(tmp_path: Path) -> None:
    source = find_source(release(tmp_path))
    data = source.load("films")
    assert (source.format, {p.name for p in source.files}) == ("movielens", {"movies.csv", "ratings.csv"})
    assert [(t.item_id, t.time, t.rating) for t in data.users["7"]] == [("1", 100, 4.0), ("2", 200, 3.5)]
    first, second = data.items["1"], data.items["2"]
    assert (first.title, first.year, first.categories) == ("Toy Story (1995)", 1995, ("Adventure", "Comedy"))
    assert (second.title, second.categories) == ("Postino, Il (1994)", ())


def test_the_zip_holds_the_same(tmp_path: Path) -> None:
    unpacked = find_source(release(tmp_path / "a")).load("films")
    (tmp_path / "b").mkdir()
    with zipfile.ZipFile(tmp_path / "b" / "ml-latest-small.zip", "w") as archive:
        for name in ("movies.csv", "ratings.csv"):
            archive.write(tmp_path / "a" / "ml-latest-small" / name, f"ml-latest-small/{name}")
    source = find_source(tmp_path / "b")
    assert [p.name for p in source.files] == ["ml-latest-small.zip"]
    assert source.load("films") == unpacked
    (tmp_path / "b" / "ml-latest-small.zip").write_bytes(os.urandom(500))
    with pytest.raises(InputError, match=r"ml-latest-small.zip: a packed file is damaged or cut off; get it again"):
        find_source(tmp_path / "b").load("films")


def test_each_file_may_be_packed(tmp_path: Path) -> None:
    plain = find_source(release(tmp_path / "a")).load("films")
    packed = release(tmp_path / "b") / "ml-latest-small"
    for file in list(packed.iterdir()):
        (packed / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    source = find_source(tmp_path / "b")
    assert {p.name for p in source.files} == {"movies.csv.gz", "ratings.csv.gz"}
    assert source.load("films") == plain
    (packed / "ratings.csv.gz").write_bytes((packed / "ratings.csv.gz").read_bytes()[:-12])
    with pytest.raises(InputError, match="ml-latest-small: a packed file is damaged or cut off; get it again"):
        find_source(tmp_path / "b").load("films")


def test_dat_files_are_latin_1(tmp_path: Path) -> None:
    (tmp_path / "movies.dat").write_bytes("1::Misérables, Les (1995)::Drama\n".encode("latin-1"))
    (tmp_path / "ratings.dat").write_bytes(b"1::1::5::978300760\n")
    data = find_source(tmp_path).load("films")
    assert data.items["1"].title == "Misérables, Les (1995)"
    assert data.users["1"][0].time == 978300760


@pytest.mark.parametrize(
    ("movies", "ratings", "message"),
    [
        (MOVIES, "userId,movieId,rating,timestamp\n7,9,3,200\n", "ratings.csv, line 2: movie '9' is not in the file"),
        (MOVIES, "userId,movieId,rating,timestamp\n7,1,good,200\n", "ratings.csv, line 2: rating or timestamp is no"),
        (
            MOVIES,
            RATINGS.replace("200", "978300760000"),
            "ratings.csv, line 2: timestamp 978300760000 is not in Unix sec",
        ),
        (
            MOVIES,
            RATINGS + '7,"1,3\n' + "7,1,3,5\n" * 20_000,
            "ratings.csv, line 5: the row that begins here cannot be",
        ),
        (MOVIES, "userId,movieId,rating,timestamp\n7,1\n", "ratings.csv, line 2: it has not the 4 fields"),
        (MOVIES, "userId,movieId,rating,timestamp\n", "it holds no rating"),
        (MOVIES + "1,Again (2000),Drama\n", RATINGS, "movies.csv, line 4: movie '1' is there twice"),
    ],
)
def test_wrong_files(tmp_path: Path, movies: str, ratings: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_source(release(tmp_path, movies, ratings)).load("films")


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"holds no interactions.csv with items.jsonl, no MovieLens and no Amazon release"
    ):
        find_source(tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        find_source(tmp_path / "nowhere")
