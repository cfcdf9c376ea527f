"""The shipped examples, by name: one user each, with the item they really took (or, where invented, would take)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

NAMES = ("paper", "films", "games", "no_page")


def example_path(name: str) -> Path:
    """File of the example `name`."""
    return Path(__file__).with_name(f"{name}.json")


def load_example(name: str) -> dict[str, Any]:
    """The example `name`: source, history, candidates, target."""
    example: dict[str, Any] = json.loads(example_path(name).read_text("utf-8"))
    return example
