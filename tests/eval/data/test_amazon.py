"""The Amazon releases, each with what makes it different from the others."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from webrec.errors import InputError
from webrec.eval.data.markup import plain_text
from webrec.eval.data.source import find_source


def put(folder: Path, name: str, lines: Sequence[Any]) -> None:
    folder.mkdir(exist_ok=True)
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    (folder / name).write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())


def review(user: str, item: str, time: int) -> dict[str, Any]:
    return {"reviewerID": user, "asin": item, "overall": 4.0, "unixReviewTime": time, "reviewText": "Good."}


def test_2014(tmp_path: Path) -> None:
    """Metadata in Python's own notation; several category paths; entities; equal reviews; times out of order."""
    put(
        tmp_path,
        "reviews_Beauty_5.json.gz",
        [review("u", "B2", 300), review("u", "B1", 100), review("u", "B1", 100), review("v", "B3", 5)],
    )
    put(
        tmp_path,
        "meta_Beauty.json.gz",
        [
            "{'asin': 'B1', 'title': 'Soap &amp; Brush', 'description': \"It's <b>mild</b>\", 'categories': [['Beauty', 'Soap'], ['Gifts']]}",
            "{'asin': 'B2', 'description': 'No title'}",
            "{'asin': 'other', 'title': 'Nobody took it'}",
        ],
    )
    source = find_source(tmp_path)
    assert (source.format, [p.name for p in source.files]) == (
        "amazon",
        ["reviews_Beauty_5.json.gz", "meta_Beauty.json.gz"],
    )
    data = source.load("beauty")
    assert [(t.item_id, t.time, t.rating) for t in data.users["u"]] == [("B1", 100, 4.0), ("B2", 300, 4.0)]
    assert set(data.items) == {"B1", "B2", "B3"}
    soap = data.items["B1"]
    assert (soap.title, soap.text, soap.categories) == ("Soap & Brush", "It's mild", ("Beauty", "Soap"))
    assert [data.items[i].title for i in ("B2", "B3")] == ["", ""]


def test_2018(tmp_path: Path) -> None:
    """Lists of paragraphs, scripts in titles, products listed twice."""
    put(tmp_path, "Office_Products_5.json", [review("u", "B1", 1), review("u", "B2", 2)])
    junk = "Pen <span>blue</span><script>var a = '<b>';</script>"
    put(
        tmp_path,
        "meta_Office_Products.json",
        [
            {"asin": "B1", "title": junk, "description": ["First.", "Second."], "category": ["Office", "Pens"]},
            {"asin": "B1", "title": "Again", "description": []},
            {"asin": "B2", "title": "Ink", "description": [], "feature": ["Black"]},
        ],
    )
    data = find_source(tmp_path).load("office")
    assert (data.items["B1"].title, data.items["B1"].text) == ("Pen blue", "First. Second.")
    assert (data.items["B2"].text, data.items["B1"].categories) == ("Black", ("Office", "Pens"))


def test_2023(tmp_path: Path) -> None:
    """Milliseconds, parents, and the CSV of ratings alone."""
    row = {"user_id": "u", "asin": "child", "parent_asin": "P", "rating": 5.0, "timestamp": 1588615855070}
    put(tmp_path / "json", "All_Beauty.jsonl.gz", [row])
    put(
        tmp_path / "json", "meta_All_Beauty.jsonl.gz", [{"parent_asin": "P", "title": "Cream", "description": ["Soft"]}]
    )
    data = find_source(tmp_path / "json").load("beauty")
    assert [(t.item_id, t.time) for t in data.users["u"]] == [("P", 1588615855)]
    assert data.items["P"].title == "Cream"
    put(tmp_path / "csv", "All_Beauty.csv.gz", ["user_id,parent_asin,rating,timestamp", "u,P,5.0,1588615855070"])
    assert find_source(tmp_path / "csv").load("beauty").users == data.users


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["{not json"], r"reviews_X_5.json, line 1: it is no JSON object; get the file again"),
        ([{"asin": "B1", "unixReviewTime": 1}], r"line 1: reviewerID or user_id is missing"),
        ([{"reviewerID": "u", "unixReviewTime": 1}], r"line 1: parent_asin or asin is missing"),
        ([review("u", "B1", 1), {"reviewerID": "u", "asin": "B"}], r"line 2: unixReviewTime or timestamp is missing"),
        ([{**review("u", "B1", 1), "unixReviewTime": "soon"}], r"line 1: unixReviewTime 'soon' is no number"),
        ([{**review("u", "B1", 1), "overall": None}], r"line 1: overall 'None' is no number"),
        ([""], r"reviews_X_5.json: it holds no review"),
        ([review("u", "B1", 10**14)], r"line 1: timestamp 100000000000 is not in Unix seconds; divide milliseconds"),
        (["__import__('os').system('echo no')"], r"line 1: it is no JSON object"),
    ],
)
def test_wrong_files(tmp_path: Path, lines: list[Any], message: str) -> None:
    put(tmp_path, "reviews_X_5.json", lines)
    put(tmp_path, "meta_X.json", [{"asin": "B1", "title": "Soap"}])
    with pytest.raises(InputError, match=message):
        find_source(tmp_path).load("x")


def test_a_csv_row_that_is_no_row(tmp_path: Path) -> None:
    put(tmp_path, "X.csv", ["user_id,parent_asin,rating,timestamp", "u,P,5.0,1588615855070", "u,Q"])
    with pytest.raises(InputError, match=r"X.csv, line 3: rating|X.csv, line 3: timestamp 'None' is no number"):
        find_source(tmp_path).load("x")
    put(tmp_path, "X.csv", ["user_id,parent_asin,rating,timestamp", 'u,"P,5.0,1588615855070', "u,P,5,1\n" * 20_000])
    with pytest.raises(InputError, match=r"X.csv, line 2: the row that begins here cannot be read"):
        find_source(tmp_path).load("x")


def test_a_gzip_file_that_was_cut_off(tmp_path: Path) -> None:
    put(tmp_path, "reviews_X_5.json.gz", [review(f"u{n}", "B1", n) for n in range(5000)])
    path = tmp_path / "reviews_X_5.json.gz"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(
        InputError, match=r"reviews_X_5.json.gz, after line \d+: it cannot be read .*; get the file again"
    ):
        find_source(tmp_path).load("x")


def test_two_categories_in_one_folder(tmp_path: Path) -> None:
    for name in ("reviews_X_5.json", "reviews_Y_5.json", "meta_X.json"):
        put(tmp_path, name, [{}])
    with pytest.raises(InputError, match=r"two files of reviews .*; keep one category a folder"):
        find_source(tmp_path)


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("a &amp;amp; b", "a & b"),
        ("<p>a</p><p>b</p>", "a b"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("<style>p{}</style>x<br/>y", "x y"),
        ("plain", "plain"),
    ],
)
def test_markup(markup: str, text: str) -> None:
    assert plain_text(markup) == text
