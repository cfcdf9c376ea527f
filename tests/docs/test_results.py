"""The tables in docs/head.md are those of the result files."""

from __future__ import annotations

import runpy
from pathlib import Path


def test_tables_are_of_the_result_files() -> None:
    root = Path(__file__).parents[2]
    document = (root / "docs" / "head.md").read_text("utf-8")
    assert runpy.run_path(str(root / "scripts" / "write_results.py"))["filled"](document) == document
