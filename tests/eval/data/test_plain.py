"""Reading the plain format, and what is said of files that are wrong."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from webrec.errors import InputError
from webrec.eval.data.dataset import Interaction, Item
from webrec.eval.data.plain import load_plain

from ...worlds import write_plain  # noqa: TID252

ITEMS = [
    {"item_id": "a", "title": "  Soap\u200b &  Water "},
    {"item_id": "b", "title": None},
    {"item_id": 3, "title": "C"},
]


@pytest.mark.parametrize("compressed", [False, True])
def test_both_forms(tmp_path: Path, compressed: bool) -> None:
    rows = [("u", "b", 20), ("u", "a", 10), ("v", "3", 5)]
    data = load_plain(write_plain(tmp_path / "set", rows, ITEMS, compressed=compressed))
    assert data.name == "set"
    assert data.users == {"u": (Interaction("a", 10), Interaction("b", 20)), "v": (Interaction("3", 5),)}
    assert [item.title for item in data.items.values()] == ["Soap & Water", "", "C"]
    assert data.interactions() == 3


def test_positions_go_before_times_and_rows_of_a_second_keep_their_order(tmp_path: Path) -> None:
    header = ("user_id", "item_id", "timestamp", "position", "rating")
    rows = [("u", "a", 10, 2, 4.5), ("u", "3", 30, 0, ""), ("u", "b", 20, 1, "")]
    data = load_plain(write_plain(tmp_path / "a", rows, ITEMS, header))
    assert [t.item_id for t in data.users["u"]] == ["3", "b", "a"]
    assert data.users["u"][2] == Interaction("a", 10, 4.5)
    same = load_plain(write_plain(tmp_path / "b", [("u", "b", 7), ("u", "a", 7), ("u", "3", 1)], ITEMS))
    assert [t.item_id for t in same.users["u"]] == ["3", "b", "a"]
    order = load_plain(write_plain(tmp_path / "c", [("u", "b"), ("u", "a")], ITEMS, ("user_id", "item_id")))
    assert order.users["u"] == (Interaction("b"), Interaction("a"))


def test_what_items_may_say(tmp_path: Path) -> None:
    item = {
        "item_id": "a",
        "title": "A",
        "description": "Soft.\x07 Soap",
        "categories": ["x", "z"],
        "year": 1999,
        "brand": " Dove ",
    }
    others = [
        {"item_id": "b", "categories": "y", "year": "1999"},
        {"item_id": "c", "categories": [["x", "z"], ["x", "y"]], "year": None},
        {"item_id": "d", "categories": [], "year": ""},
        {"item_id": "e", "categories": "", "year": -300.0},
    ]
    data = load_plain(write_plain(tmp_path, [("u", "a", 1)], [item, *others, ""]))
    assert data.items["a"] == Item("a", "A", "Soft. Soap", ("x", "z"), 1999, "Dove")
    assert data.items["b"] == Item("b", "", None, ("y",), 1999)
    assert data.items["c"] == Item("c", "", None, ("x", "z", "x", "y"))
    assert data.items["d"] == Item("d", "")
    assert data.items["e"] == Item("e", "", None, (), -300)


def test_times_that_are_seconds(tmp_path: Path) -> None:
    told = ["-2208988800", "0", "1.7e9", "1700000001.0", " 4102444799"]
    data = load_plain(write_plain(tmp_path, [("u", "a", time) for time in told], ITEMS))
    assert [t.time for t in data.users["u"]] == [-2208988800, 0, 1700000000, 1700000001, 4102444799]


def test_a_column_that_is_not_read_may_be_there_twice(tmp_path: Path) -> None:
    header = ("user_id", "item_id", "note", "note", "")
    data = load_plain(write_plain(tmp_path, [("u", "a", 1, 2, ""), ("u", "b", 3, 2, "")], ITEMS, header))
    assert data.users["u"] == (Interaction("a"), Interaction("b"))


WRONG: list[tuple[str, Any, Any, Any, str]] = [
    ("missing column", [("u", 1)], ITEMS, ("user_id", "when"), "interactions.csv: the column item_id is missing"),
    ("too few fields", [("u",)], ITEMS, None, "line 2: it has not the 3 fields"),
    ("too many fields", [("u", "a", 1, 2)], ITEMS, None, "line 2: it has not the 3 fields"),
    ("no user", [("", "a", 1)], ITEMS, None, "line 2: user_id is empty"),
    ("no item", [("u", "", 1)], ITEMS, None, "line 2: item_id is empty"),
    ("unknown item", [("u", "zz", 1)], ITEMS, None, "line 2: item_id 'zz' is not in items.jsonl; add the item"),
    ("spaces", [("u", " 3", 1)], ITEMS, None, "item_id ' 3' is not in items.jsonl, which has '3'; remove the spaces"),
    ("spaces alone", [("u", " zz\t", 1)], ITEMS, None, r"item_id ' zz\\t' is not in items.jsonl; add the item"),
    ("spaced header", [("u", 3)], ITEMS, ("user_id", " item_id"), "the header names ' item_id'; remove the spaces"),
    ("spaced time", [("u", 3, 1)], ITEMS, ("user_id", "item_id", "timestamp "), "the header names 'timestamp '"),
    ("column twice", [("u", 3, "a")], ITEMS, ("user_id", "item_id", "item_id"), "the column item_id is there twice"),
    ("duplicate row", [("u", "a", 1), ("v", "a", 1), ("u", "a", 1)], ITEMS, None, "line 4: it repeats line 2"),
    ("time in words", [("u", "a", "today")], ITEMS, None, "line 2: timestamp 'today' is no number"),
    ("endless time", [("u", "a", "inf")], ITEMS, None, "line 2: timestamp 'inf' is no number"),
    (
        "milliseconds",
        [("u", "a", 1700000000000)],
        ITEMS,
        None,
        "line 2: timestamp 1700000000000 is not in Unix seconds; divide milliseconds by 1000",
    ),
    ("microseconds", [("u", "a", 17 * 10**14)], ITEMS, None, "Unix seconds; divide microseconds by 1000000"),
    ("nanoseconds", [("u", "a", 17 * 10**17)], ITEMS, None, "Unix seconds; divide nanoseconds by 1000000000"),
    ("no time", [("u", "a", "1e30")], ITEMS, None, "timestamp 1e30 is not in Unix seconds; give seconds since 1970"),
    ("half seconds", [("u", "a", "10.5")], ITEMS, None, "line 2: timestamp 10.5 is no whole second; round it"),
    ("some times", [("u", "a", 1), ("u", "b", "")], ITEMS, None, "line 3: some rows have a position or timestamp"),
    ("no rows", [], ITEMS, None, "interactions.csv: it holds no interaction"),
    ("no items", [("u", "a", 1)], [], None, "items.jsonl: it holds no item"),
    ("no JSON", [("u", "a", 1)], ["{oops"], None, "items.jsonl, line 1: it is not JSON"),
    ("no object", [("u", "a", 1)], ["[1]"], None, "items.jsonl, line 1: item_id is missing"),
    ("item without id", [("u", "a", 1)], [{"title": "x"}], None, "items.jsonl, line 1: item_id is missing"),
    ("empty id", [("u", "a", 1)], [{"item_id": ""}], None, "items.jsonl, line 1: item_id is missing"),
    ("id true", [("u", "a", 1)], [{"item_id": True}], None, "line 1: item_id is neither text nor a whole number"),
    ("id 3.0", [("u", "a", 1)], [{"item_id": 3.0}], None, "line 1: item_id is neither text nor a whole number"),
    *(
        (
            f"year {year!r}",
            [("u", "a", 1)],
            [{"item_id": "a", "year": year}],
            None,
            "line 1: year is not a whole number",
        )
        for year in (True, 1999.5, "nineteen", "1999-05", "19999", [1999])
    ),
    *(
        (
            f"categories {told!r}",
            [("u", "a", 1)],
            [{"item_id": "a", "categories": told}],
            None,
            "line 1: categories are",
        )
        for told in ({"a": 1}, 3, True, ["x", 3], [["x", ["y"]]])
    ),
    ("item twice", [("u", "a", 1)], [*ITEMS, {"item_id": "3"}], None, "line 4: item_id '3' is there twice"),
    ("title no text", [("u", "a", 1)], [{"item_id": "a", "title": 3}], None, "line 1: title is not text"),
]


@pytest.mark.parametrize(("rows", "items", "header", "message"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_wrong_files(tmp_path: Path, rows: Any, items: Any, header: Any, message: str) -> None:
    folder = write_plain(tmp_path, rows, items, header or ("user_id", "item_id", "timestamp"))
    with pytest.raises(InputError, match=message.replace("[", r"\[")) as caught:
        load_plain(folder)
    assert "\n" not in str(caught.value)
    assert ";" in str(caught.value)  # what is wrong; how to mend it


def test_a_damaged_gzip(tmp_path: Path) -> None:
    folder = write_plain(tmp_path, [(f"u{n}", "a", n) for n in range(5000)], ITEMS, compressed=True)
    path = folder / "interactions.csv.gz"
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:100] + b"\0" * 200 + whole[300:], b"user_id,item_id\nu,a\n"):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"interactions.csv.gz, after line \d+: .*get the file again|not UTF-8"):
            load_plain(folder)


def test_an_open_quote(tmp_path: Path) -> None:
    """It takes in the rest of the file; what is named is the line where that begins."""
    rows = "".join(f"u{n},a,{n}\n" for n in range(20_000))
    folder = write_plain(tmp_path, [], ITEMS)
    path = folder / "interactions.csv"
    path.write_text(f'user_id,item_id,timestamp\nu,a,1\n\nu,"b,2\n{rows}', "utf-8")
    with pytest.raises(InputError, match=r"interactions.csv, line 4: the row that .*131072.*; close the quote if"):
        load_plain(folder)
    path.write_text(f'user_id,item_id,timestamp\nu,a,1\n\nu,"b,2\n{rows[:90]}', "utf-8")
    with pytest.raises(InputError, match=r"line 4: it has not the 3 fields .* several lines; close the quote if"):
        load_plain(folder)


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"path: .* is not a folder"):
        load_plain(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"holds no items.jsonl"):
        load_plain(tmp_path)
    (tmp_path / "items.jsonl.gz").write_bytes(gzip.compress(b'{"item_id": "a", "title": "A"}'))
    with pytest.raises(InputError, match=r"holds no interactions.csv"):
        load_plain(tmp_path)
