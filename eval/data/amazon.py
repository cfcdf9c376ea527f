"""The Amazon review releases of the McAuley lab (2014, 2018, 2023): one file of reviews, one of metadata."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from webrec.errors import InputError
from webrec.eval.data.dataset import Dataset, Interaction, Item
from webrec.eval.data.markup import plain_text
from webrec.eval.data.plain import MOST_TEXT
from webrec.eval.data.seconds import check_seconds
from webrec.eval.data.text_files import csv_rows, numbered_lines
from webrec.tools.text_safety import clean

_USER, _ITEM = ("reviewerID", "user_id"), ("parent_asin", "asin")
_TIME, _RATING = ("unixReviewTime", "timestamp"), ("overall", "rating")
_MILLISECONDS = 10**11
"""Times above this are milliseconds (2023): in seconds they would lie 3,000 years ahead."""


@dataclass(frozen=True)
class AmazonFiles:
    """Reviews (JSON lines, or CSV with a header), and metadata if there is any."""

    reviews: Path
    metadata: Path | None


def find_amazon(folder: Path) -> AmazonFiles | None:
    """The two files of a release in `folder`, None where there is none. Raises `InputError` if there are several of one kind."""
    named = [p for p in sorted(folder.iterdir()) if p.name.removesuffix(".gz").endswith((".json", ".jsonl", ".csv"))]
    metadata = [p for p in named if p.name.startswith("meta_")]
    reviews = [p for p in named if not p.name.startswith("meta_") and p.name != "download.json"]
    if not reviews or not (metadata or len(reviews) == 1):
        return None
    for kind, found in (("reviews", reviews), ("metadata", metadata)):
        if len(found) > 1:
            raise InputError(
                f"path: {folder} holds two files of {kind} ({found[0].name}, {found[1].name}); keep one category a folder"
            )
    return AmazonFiles(reviews[0], metadata[0] if metadata else None)


def load_amazon(files: AmazonFiles, name: str) -> Dataset:
    """Read a release. Items are products (2023: parents); of two equal (user, item, time) one is kept; times are Unix seconds.

    Items without metadata have the title "". Raises `InputError` naming file, line and field of the first problem.
    """
    users: dict[str, list[tuple[int, int, Interaction]]] = {}
    seen: set[tuple[str, str, int]] = set()
    taken: set[str] = set()
    for number, row in _rows(files.reviews):
        where = f"{files.reviews.name}, line {number}"
        user, item = _text(row, _USER, where), _text(row, _ITEM, where)
        time = int(_number(row, _TIME, where))
        time = time // 1000 if time > _MILLISECONDS else time
        check_seconds(time, str(time), where)
        if (user, item, time) in seen:
            continue
        seen.add((user, item, time))
        taken.add(item)
        rating = _number(row, _RATING, where) if any(field in row for field in _RATING) else None
        users.setdefault(user, []).append((time, number, Interaction(item, time, rating)))
    if not users:
        raise InputError(f"{files.reviews.name}: it holds no review; get the file again")
    items = _items(files.metadata, taken) if files.metadata else {}
    return Dataset(
        name,
        {user: tuple(one for *_, one in sorted(rows, key=lambda r: r[:2])) for user, rows in users.items()},
        {item: items.get(item, Item(item, "")) for item in sorted(taken)},
    )


def _items(path: Path, wanted: set[str]) -> dict[str, Item]:
    items = {}
    for number, row in _rows(path):
        item = _text(row, _ITEM, f"{path.name}, line {number}")
        if item not in wanted or item in items:  # 2018 lists some products twice
            continue
        text = _joined(row.get("description")) or _joined(row.get("features") or row.get("feature"))
        title, brand = row.get("title"), row.get("brand") or row.get("store")  # 2014 and 2018; 2023
        items[item] = Item(
            item,
            plain_text(title) if isinstance(title, str) else "",
            clean(plain_text(text), MOST_TEXT) or None,
            _categories(row.get("categories") or row.get("category")),
            brand=plain_text(brand) or None if isinstance(brand, str) else None,
        )
    return items


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and content of each line. JSON, and in the metadata of 2014 Python literals, which are read as data, never run."""
    if path.name.removesuffix(".gz").endswith(".csv"):
        rows = csv_rows((line for _, line in numbered_lines(path)), path.name)
        _, header = next(rows, (1, []))
        for number, fields in rows:
            yield number, dict(zip_longest(header, fields[: len(header)]))  # None for what a short row lacks
        return
    for number, line in numbered_lines(path):
        if not line.strip():
            continue
        row: Any
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            try:
                row = ast.literal_eval(line.strip())
            except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
                row = None
        if not isinstance(row, dict):
            raise InputError(f"{path.name}, line {number}: it is no JSON object; get the file again")
        yield number, row


def _text(row: dict[str, Any], names: tuple[str, ...], where: str) -> str:
    for name in names:
        if isinstance(value := row.get(name), str) and value:
            return value
    raise InputError(f"{where}: {' or '.join(names)} is missing; is it a file of reviews or metadata of a release?")


def _number(row: dict[str, Any], names: tuple[str, ...], where: str) -> float:
    for name in names:
        if name in row:
            try:
                value = float(row[name])
            except (TypeError, ValueError):
                value = float("nan")
            if not abs(value) < 1e15:
                raise InputError(f"{where}: {name} {clean(str(row[name]), 40)!r} is no number; correct it")
            return value
    raise InputError(f"{where}: {' or '.join(names)} is missing; is it a file of reviews of a release?")


def _joined(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(part for part in value if isinstance(part, str))
    return value if isinstance(value, str) else ""


def _categories(value: Any) -> tuple[str, ...]:
    """Of 2014 the first path of several."""
    if isinstance(value, list) and value and isinstance(value[0], list):
        value = value[0]
    return tuple(plain_text(v) for v in value if isinstance(v, str)) if isinstance(value, list) else ()
