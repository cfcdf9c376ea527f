"""A small evaluation on disk, and what it answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from ...worlds import skewed, write_dataset  # noqa: TID252

SYSTEMS: list[Any] = ["random", "popularity", {"kind": "co_occurrence", "name": "near", "steps": 2}]


def write_config(folder: Path, **changes: Any) -> Path:
    """A configuration and its data set in `folder`."""
    if not (folder / "films").exists():
        write_dataset(folder / "films", skewed(users=120))
    told = {
        "output": "run",
        "data": [{"path": "films", "min_interactions": 0, "draws": 2}],
        "systems": SYSTEMS,
        "seeds": [0, 1],
        **changes,
    }
    path = folder / "eval.yaml"
    path.write_text(yaml.safe_dump(told), encoding="utf-8")
    return path


def rows(folder: Path) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """What was answered to whom; each must be there once."""
    found = [row for path in sorted(folder.glob("rows/**/*.parquet")) for row in pq.read_table(path).to_pylist()]
    told = {
        (r["data"], r["sampling"], r["system"], r["seed"], r["key"]): (r["rank"], tuple(r["scores"])) for r in found
    }
    assert len(told) == len(found)
    return told
