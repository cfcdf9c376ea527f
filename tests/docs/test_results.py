"""The tables of measurements in the documents are those of the result files."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "write_results.py"))


@pytest.mark.parametrize("name", SCRIPT["TABLES"])
def test_tables_are_of_the_result_files(name: str) -> None:
    document = (ROOT / "docs" / name).read_text("utf-8")
    assert SCRIPT["filled"](name, document) == document, "run scripts/write_results.py"
