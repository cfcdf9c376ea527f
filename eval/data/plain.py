"""The plain format: a folder with `interactions.csv` and `items.jsonl`, each also as `.gz`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from webrec.errors import InputError
from webrec.eval.data.dataset import Dataset, Interaction, Item
from webrec.eval.data.seconds import check_seconds
from webrec.eval.data.text_files import csv_rows, numbered_lines
from webrec.tools.text_safety import clean

INTERACTIONS, ITEMS = "interactions.csv", "items.jsonl"
MOST_TEXT = 4_000
"""Characters of an item's description that are kept."""
_COLUMNS = ("user_id", "item_id", "timestamp", "rating", "position")
_YEAR = re.compile("[0-9]{1,4}")


def load_plain(folder: Path, name: str | None = None) -> Dataset:
    """Read `interactions.csv(.gz)` and `items.jsonl(.gz)`.

    Columns `user_id` and `item_id`; `timestamp` (whole Unix seconds), `rating` and `position` (the order within a user) where
    known. Without positions a user's rows are ordered by time, without both by their place in the file. Items: `item_id`,
    `title`, optionally `description`, `categories`, `year`; a missing title is kept as "". Raises `InputError` naming file,
    line and field of the first problem.
    """
    items = _items(plain_file(folder, ITEMS))
    return Dataset(name or folder.name, _interactions(plain_file(folder, INTERACTIONS), items), items)


def plain_file(folder: Path, name: str) -> Path:
    """`name` in `folder`, or its gzip form. Raises `InputError` where there is neither."""
    if not folder.is_dir():
        raise InputError(f"path: {folder} is not a folder; give one that holds {INTERACTIONS} and {ITEMS}")
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise InputError(f"path: {folder} holds no {name} or {name}.gz; add it, or name another format")


def _interactions(path: Path, items: Mapping[str, Item]) -> dict[str, tuple[Interaction, ...]]:
    rows = csv_rows((line for _, line in numbered_lines(path)), path.name)
    _, columns = next(rows, (1, []))
    _check_header(path.name, columns)
    users: dict[str, list[tuple[float, int, Interaction]]] = {}
    seen: dict[tuple[str, ...], int] = {}
    ordered_by: set[str] = set()
    for number, fields in rows:
        where = f"{path.name}, line {number}"
        if len(fields) != len(columns):
            wrong, fix = f"it has not the {len(columns)} fields of the header", "correct the row"
            if any("\n" in field or "\r" in field for field in fields):
                wrong, fix = f"{wrong} and runs over several lines", "close the quote if one is left open"
            raise InputError(f"{where}: {wrong}; {fix}")
        first = seen.setdefault(tuple(fields), number)
        if first != number:
            raise InputError(f"{where}: it repeats line {first}; remove one of them")
        row = dict(zip(columns, fields, strict=True))
        user, item = row["user_id"], row["item_id"]
        if not user or not item:
            raise InputError(f"{where}: {'item_id' if user else 'user_id'} is empty; fill it or remove the row")
        if item not in items:
            raise InputError(f"{where}: item_id {_unknown(item, items)}")
        time = _time(row, where)
        position = _number(row, "position", where)
        ordered_by.add("position" if position is not None else "time" if time is not None else "file")
        if len(ordered_by) > 1:
            raise InputError(
                f"{where}: some rows have a position or timestamp and some have none; fill the column or leave it out"
            )
        order = position if position is not None else time if time is not None else 0.0
        users.setdefault(user, []).append((order, number, Interaction(item, time, _number(row, "rating", where))))
    if not users:
        raise InputError(f"{path.name}: it holds no interaction; give one row for each thing a user took")
    return {user: tuple(taken for *_, taken in sorted(rows, key=lambda r: r[:2])) for user, rows in users.items()}


def _check_header(name: str, columns: Sequence[str]) -> None:
    for column in _COLUMNS:
        # A column of another name is not read; one that differs by spaces alone is meant to be.
        spaced = next((c for c in columns if c.strip() == column != c), None)
        if spaced is not None:
            raise InputError(f"{name}: the header names {_shown(spaced)}; remove the spaces around {column}")
        if columns.count(column) > 1:
            raise InputError(f"{name}: the column {column} is there twice; remove one of them or rename it")
    for column in ("user_id", "item_id"):
        if column not in columns:
            raise InputError(f"{name}: the column {column} is missing; its header must name user_id and item_id")


def _unknown(item: str, items: Mapping[str, Item]) -> str:
    if item.strip() in items:
        return f"{_shown(item)} is not in {ITEMS}, which has {_shown(item.strip())}; remove the spaces around it"
    return f"{_shown(item)} is not in {ITEMS}; add the item or remove the row"


def _shown(text: str) -> str:
    """As it is, with its spaces, whatever shows nothing escaped."""
    return repr(text if len(text) <= 40 else f"{text[:39]}…")


def _time(row: Mapping[str, str], where: str) -> int | None:
    time = _number(row, "timestamp", where, below=math.inf)
    if time is None:
        return None
    shown = clean(row["timestamp"], 40)
    check_seconds(time, shown, where)
    if not time.is_integer():
        # Positions do not help beside times: what a user took at the same time is shuffled whatever its positions are.
        raise InputError(
            f"{where}: timestamp {shown} is no whole second; round it (equal times are shuffled unless same_time is "
            "as_listed), or give position instead of timestamp"
        )
    return int(time)


def _number(row: Mapping[str, str], column: str, where: str, below: float = 1e15) -> float | None:
    text = row.get(column) or ""
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) < below:  # also false for what is no number
        raise InputError(f"{where}: {column} {clean(text, 40)!r} is no number; correct it or leave it empty")
    return value


def _items(path: Path) -> dict[str, Item]:
    items: dict[str, Item] = {}
    for number, line in numbered_lines(path):
        if not line.strip():
            continue
        where = f"{path.name}, line {number}"
        try:
            data = json.loads(line)
        except (ValueError, RecursionError):
            raise InputError(f"{where}: it is not JSON; write one object a line") from None
        item_id = _item_id(data, where)
        if item_id in items:
            raise InputError(f"{where}: item_id {clean(item_id, 40)!r} is there twice; list each item once")
        for field in ("title", "description", "brand"):
            if not isinstance(data.get(field), str | None):
                raise InputError(f"{where}: {field} is not text; write it as a string or leave it out")
        items[item_id] = Item(
            item_id,
            clean(data.get("title") or ""),
            clean(data.get("description") or "", MOST_TEXT) or None,
            _categories(data.get("categories"), where),
            _year(data.get("year"), where),
            clean(data.get("brand") or "") or None,
        )
    if not items:
        raise InputError(f"{path.name}: it holds no item; give one JSON object a line")
    return items


def _item_id(data: Any, where: str) -> str:
    told = data.get("item_id") if isinstance(data, dict) else None
    if told is None or told == "":
        raise InputError(f"{where}: item_id is missing; every item needs one")
    if not isinstance(told, str | int) or isinstance(told, bool):
        raise InputError(f"{where}: item_id is neither text nor a whole number; write it as a string")
    return str(told)


def _year(value: Any, where: str) -> int | None:
    if value is None or value == "":
        return None
    if isinstance(value, str) and _YEAR.fullmatch(value.strip()):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)  # as tables write whole numbers among missing ones
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"{where}: year is not a whole number; write it like 1999 or leave it out")
    return value


def _categories(value: Any, where: str) -> tuple[str, ...]:
    """A list of texts, a list of such lists, or one text: sources differ."""
    if value is None or value == "":
        return ()
    parts = value if isinstance(value, list) else [value]
    flat = [one for part in parts for one in (part if isinstance(part, list) else [part]) if one is not None]
    if not all(isinstance(one, str) for one in flat):
        raise InputError(f"{where}: categories are not text; write them as a list of strings or leave them out")
    return tuple(flat)
