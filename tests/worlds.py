"""Small data sets with known properties."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from webrec.eval.data.dataset import Dataset, Interaction, Item


def dataset(
    sequences: Mapping[str, Sequence[str]], titles: Mapping[str, str] | None = None, step: int = 86_400
) -> Dataset:
    """Users' items, one each `step` seconds; the title of an item is its id in words, unless `titles` says another."""
    ids = sorted({item for sequence in sequences.values() for item in sequence} | set(titles or {}))
    items = {i: Item(i, (titles or {}).get(i, f"Thing {i}")) for i in ids}
    users = {
        user: tuple(Interaction(item, 1_000_000_000 + step * place) for place, item in enumerate(sequence))
        for user, sequence in sequences.items()
    }
    return Dataset("small", users, items)


def chained(users: int = 80, items: int = 60, length: int = 8, seed: int = 0) -> dict[str, list[str]]:
    """The sequences of users who go from item n to n + 1."""
    generator = np.random.default_rng(seed)
    sequences = {}
    for user in range(users):
        first = int(generator.integers(items))
        sequences[f"u{user}"] = [f"i{(first + step) % items:02}" for step in range(length)]
    return sequences


def skewed(users: int = 400, items: int = 1000, length: int = 8, seed: int = 0, flat: int = 300) -> Dataset:
    """Users who take popular items more often (in proportion to 1 / (rank + flat)), each item once."""
    generator = np.random.default_rng(seed)
    weights = 1 / np.arange(flat, items + flat)
    weights /= weights.sum()
    return dataset(
        {
            f"u{n}": [f"i{i}" for i in generator.choice(items, length, replace=False, p=weights).tolist()]
            for n in range(users)
        },
        {f"i{i}": f"Thing {i}" for i in range(items)},
    )


def write_plain(
    folder: Path,
    rows: Iterable[Sequence[Any]],
    items: Iterable[Any],
    header: Sequence[str] = ("user_id", "item_id", "timestamp"),
    compressed: bool = False,
) -> Path:
    """The two files of the plain format; an item that is text is written as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    opened = gzip.open if compressed else open
    ending = ".gz" if compressed else ""
    with opened(folder / f"interactions.csv{ending}", "wt", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    with opened(folder / f"items.jsonl{ending}", "wt", encoding="utf-8") as file:
        file.writelines((item if isinstance(item, str) else json.dumps(item)) + "\n" for item in items)
    return folder


def write_dataset(folder: Path, data: Dataset) -> Path:
    """A data set in the plain format."""
    rows = [(user, t.item_id, t.time) for user, taken in data.users.items() for t in taken]
    return write_plain(folder, rows, [{"item_id": i.item_id, "title": i.title} for i in data.items.values()])
