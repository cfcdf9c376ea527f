"""A small evaluation on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
