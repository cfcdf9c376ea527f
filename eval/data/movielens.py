"""MovieLens as GroupLens publishes it: ratings and movies as CSV (latest, 20M, 25M, 32M) or `::` files (1M, 10M), unpacked or as the zip."""

from __future__ import annotations

import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from webrec.errors import InputError
from webrec.eval.data.dataset import Dataset, Interaction, Item
from webrec.eval.data.seconds import check_seconds
from webrec.eval.data.text_files import csv_rows, open_bytes
from webrec.tools.text_safety import clean

_YEAR = re.compile(r"\((\d{4})\)\s*$")
_KINDS = (("ratings.csv", "movies.csv"), ("ratings.dat", "movies.dat"))


def find_movielens(folder: Path) -> Path | None:
    """The folder with ratings and movies, or the zip file; None where there is neither."""
    for at in (folder, *sorted(p for p in folder.iterdir() if p.is_dir())):
        if any(all(_file(at, name) for name in kind) for kind in _KINDS):
            return at
    return next((p for p in sorted(folder.glob("ml-*.zip"))), None)


def movielens_files(place: Path) -> tuple[Path, ...]:
    """What is read of a folder or zip as `find_movielens` gives it."""
    if not place.is_dir():
        return (place,)
    found = ([path for name in kind if (path := _file(place, name))] for kind in _KINDS)
    return next(tuple(paths) for paths in found if len(paths) == len(_KINDS[0]))


def _file(folder: Path, name: str) -> Path | None:
    """`name` in `folder`, or its gzip form."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def load_movielens(place: Path, name: str) -> Dataset:
    """Read a folder or zip as `find_movielens` gives it. A user's ratings are ordered by time, equal times by their place.

    Raises `InputError` naming file, line and field of the first problem.
    """
    items: dict[str, Item] = {}
    users: dict[str, list[tuple[int, int, Interaction]]] = {}
    try:
        with _opened(place) as (ratings, movies, encoding):
            for where, (movie, title, genres) in _rows(movies, encoding, 3):
                if movie in items:
                    raise InputError(f"{where}: movie {clean(movie, 40)!r} is there twice; get the file again")
                year = _YEAR.search(title)
                kinds = tuple(g for g in genres.split("|") if g and g != "(no genres listed)")
                items[movie] = Item(movie, clean(title), None, kinds, int(year[1]) if year else None)
            for number, (where, (user, movie, rating, time)) in enumerate(_rows(ratings, encoding, 4)):
                if movie not in items:
                    raise InputError(
                        f"{where}: movie {clean(movie, 40)!r} is not in the file of movies; get both again"
                    )
                try:
                    taken = Interaction(movie, int(time), float(rating))
                except ValueError:
                    raise InputError(f"{where}: rating or timestamp is no number; get the file again") from None
                check_seconds(int(time), clean(time, 40), where)
                users.setdefault(user, []).append((int(time), number, taken))
    except (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError):
        raise InputError(f"{place.name}: a packed file is damaged or cut off; get it again") from None
    except UnicodeDecodeError:
        raise InputError(f"{place.name}: it is not in the encoding of the release; get it again") from None
    if not users:
        raise InputError(f"{place.name}: it holds no rating; get it again")
    return Dataset(
        name, {u: tuple(one for *_, one in sorted(rows, key=lambda r: r[:2])) for u, rows in users.items()}, items
    )


@contextmanager
def _opened(place: Path) -> Iterator[tuple[IO[bytes], IO[bytes], str]]:
    """Ratings, movies and their encoding."""
    if place.is_dir():
        first, second = movielens_files(place)
        with open_bytes(first) as ratings, open_bytes(second) as movies:
            yield ratings, movies, _encoding(first.name.removesuffix(".gz"))
        return
    with zipfile.ZipFile(place) as archive:
        names = archive.namelist()
        for kind in _KINDS:
            found = [next((n for n in names if n.rpartition("/")[2] == wanted), None) for wanted in kind]
            if found[0] and found[1]:
                with archive.open(found[0]) as ratings, archive.open(found[1]) as movies:
                    yield ratings, movies, _encoding(kind[0])
                return
    raise InputError(f"path: {place.name} holds no ratings.csv or ratings.dat; give a MovieLens release")


def _encoding(name: str) -> str:
    return (
        "latin-1" if name.endswith(".dat") else "utf-8"
    )  # the readme of 1M and 10M says nothing; their titles say this


def _rows(file: IO[bytes], encoding: str, fields: int) -> Iterator[tuple[str, list[str]]]:
    """Place and fields of each line; more than `fields` are cut."""
    name = Path(str(file.name)).name
    text = io.TextIOWrapper(file, encoding=encoding, newline="")
    dotted = name.endswith(".dat")
    rows = enumerate((line.rstrip("\r\n").split("::") for line in text), 1) if dotted else csv_rows(text, name)
    for number, row in rows:
        if (number == 1 and not dotted) or not any(row):
            continue
        if len(row) < fields or not all(row[: fields - 1]):
            raise InputError(
                f"{name}, line {number}: it has not the {fields} fields of the release; get the file again"
            )
        yield f"{name}, line {number}", row[:fields]
