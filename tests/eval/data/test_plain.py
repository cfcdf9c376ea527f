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
        "categories": ["x", 3],
        "year": 1999,
        "brand": " Dove ",
    }
    data = load_plain(write_plain(tmp_path, [("u", "a", 1)], [item, {"item_id": "b", "categories": "y"}, ""]))
    assert data.items["a"] == Item("a", "A", "Soft. Soap", ("x",), 1999, "Dove")
    assert data.items["b"] == Item("b", "", None, ("y",))


WRONG: list[tuple[str, Any, Any, Any, str]] = [
    ("missing column", [("u", 1)], ITEMS, ("user_id", "when"), "interactions.csv: the column item_id is missing"),
    ("too few fields", [("u",)], ITEMS, None, "line 2: it has not the 3 fields"),
    ("too many fields", [("u", "a", 1, 2)], ITEMS, None, "line 2: it has not the 3 fields"),
    ("no user", [("", "a", 1)], ITEMS, None, "line 2: user_id is empty"),
    ("no item", [("u", "", 1)], ITEMS, None, "line 2: item_id is empty"),
    ("unknown item", [("u", "zz", 1)], ITEMS, None, "line 2: item_id 'zz' is not in items.jsonl"),
    ("duplicate row", [("u", "a", 1), ("v", "a", 1), ("u", "a", 1)], ITEMS, None, "line 4: it repeats line 2"),
    ("time in words", [("u", "a", "today")], ITEMS, None, "line 2: timestamp 'today' is no number"),
    ("endless time", [("u", "a", "inf")], ITEMS, None, "line 2: timestamp 'inf' is no number"),
    ("some times", [("u", "a", 1), ("u", "b", "")], ITEMS, None, "line 3: some rows have a position or timestamp"),
    ("no rows", [], ITEMS, None, "interactions.csv: it holds no interaction"),
    ("no items", [("u", "a", 1)], [], None, "items.jsonl: it holds no item"),
    ("no JSON", [("u", "a", 1)], ["{oops"], None, "items.jsonl, line 1: it is not JSON"),
    ("no object", [("u", "a", 1)], ["[1]"], None, "items.jsonl, line 1: item_id is missing"),
    ("item without id", [("u", "a", 1)], [{"title": "x"}], None, "items.jsonl, line 1: item_id is missing"),
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


def test_no_utf8(tmp_path: Path) -> None:
    folder = write_plain(tmp_path, [("u", "a", 1)], ITEMS)
    (folder / "items.jsonl").write_bytes('{"item_id": "a", "title": "Crème"}'.encode("latin-1"))
    with pytest.raises(InputError, match=r"items.jsonl, after line 0: it is not UTF-8"):
        load_plain(folder)


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"path: .* is not a folder"):
        load_plain(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"holds no items.jsonl"):
        load_plain(tmp_path)
    (tmp_path / "items.jsonl.gz").write_bytes(gzip.compress(b'{"item_id": "a", "title": "A"}'))
    with pytest.raises(InputError, match=r"holds no interactions.csv"):
        load_plain(tmp_path)
