"""The plain format: a folder with `interactions.csv` and `items.jsonl`, each also as `.gz`."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from webrec.errors import InputError
from webrec.eval.data.dataset import Dataset, Interaction, Item
from webrec.tools.text_safety import clean

INTERACTIONS, ITEMS = "interactions.csv", "items.jsonl"
MOST_TEXT = 4_000
"""Characters of an item's description that are kept."""


def load_plain(folder: Path, name: str | None = None) -> Dataset:
    """Read `interactions.csv(.gz)` and `items.jsonl(.gz)`.

    Columns `user_id` and `item_id`; `timestamp` (Unix seconds), `rating` and `position` (the order within a user) where
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


def open_text(path: Path) -> IO[str]:
    """A text file, also where it is compressed by gzip."""
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of a text file from 1. Raises `InputError` where it cannot be read, decompressed or decoded."""
    number = 0
    try:
        with open_text(path) as file:
            for line in file:
                number += 1
                yield number, line
    except UnicodeDecodeError:
        raise InputError(f"{path.name}, after line {number}: it is not UTF-8 text; save it as UTF-8") from None
    except (OSError, EOFError, zlib.error) as error:
        reason = (
            error.strerror if isinstance(error, OSError) and error.strerror else "the gzip data is damaged or cut off"
        )
        raise InputError(
            f"{path.name}, after line {number}: it cannot be read ({reason}); get the file again"
        ) from None


def _interactions(path: Path, items: dict[str, Item]) -> dict[str, tuple[Interaction, ...]]:
    reader = csv.DictReader(line for _, line in numbered_lines(path))
    columns = reader.fieldnames or []
    for column in ("user_id", "item_id"):
        if column not in columns:
            raise InputError(f"{path.name}: the column {column} is missing; its header must name user_id and item_id")
    users: dict[str, list[tuple[float, int, Interaction]]] = {}
    seen: dict[tuple[str, ...], int] = {}
    ordered_by: set[str] = set()
    for row in reader:
        where = f"{path.name}, line {reader.line_num}"
        if None in row or None in row.values():
            raise InputError(f"{where}: it has not the {len(columns)} fields of the header; correct the row")
        first = seen.setdefault(tuple(row[column] for column in columns), reader.line_num)
        if first != reader.line_num:
            raise InputError(f"{where}: it repeats line {first}; remove one of them")
        user, item = row["user_id"], row["item_id"]
        if not user or not item:
            raise InputError(f"{where}: {'item_id' if user else 'user_id'} is empty; fill it or remove the row")
        if item not in items:
            raise InputError(f"{where}: item_id {clean(item, 40)!r} is not in {ITEMS}; add the item or remove the row")
        time = _number(row, "timestamp", where)
        position = _number(row, "position", where)
        ordered_by.add("position" if position is not None else "time" if time is not None else "file")
        if len(ordered_by) > 1:
            raise InputError(
                f"{where}: some rows have a position or timestamp and some have none; fill the column or leave it out"
            )
        order = position if position is not None else time if time is not None else 0.0
        taken = Interaction(item, None if time is None else int(time), _number(row, "rating", where))
        users.setdefault(user, []).append((order, reader.line_num, taken))
    if not users:
        raise InputError(f"{path.name}: it holds no interaction; give one row for each thing a user took")
    return {user: tuple(taken for *_, taken in sorted(rows, key=lambda r: r[:2])) for user, rows in users.items()}


def _number(row: dict[str, Any], column: str, where: str) -> float | None:
    text = row.get(column) or ""
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) < 1e15:  # also false for what is no number
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
        if not isinstance(data, dict) or not isinstance(data.get("item_id"), str | int) or data["item_id"] == "":
            raise InputError(f"{where}: item_id is missing; every item needs one")
        item_id = str(data["item_id"])
        if item_id in items:
            raise InputError(f"{where}: item_id {clean(item_id, 40)!r} is there twice; list each item once")
        for field in ("title", "description", "brand"):
            if not isinstance(data.get(field), str | None):
                raise InputError(f"{where}: {field} is not text; write it as a string or leave it out")
        year = data.get("year")
        items[item_id] = Item(
            item_id,
            clean(data.get("title") or ""),
            clean(data.get("description") or "", MOST_TEXT) or None,
            _categories(data.get("categories")),
            year if isinstance(year, int) else None,
            clean(data.get("brand") or "") or None,
        )
    if not items:
        raise InputError(f"{path.name}: it holds no item; give one JSON object a line")
    return items


def _categories(value: Any) -> tuple[str, ...]:
    """A list of texts, or one text: sources differ."""
    if isinstance(value, str):
        return (value,) if value else ()
    return tuple(v for v in value if isinstance(v, str)) if isinstance(value, list) else ()
