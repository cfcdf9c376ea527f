"""docs/settings.md says what the code says."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_settings_are_up_to_date() -> None:
    table = runpy.run_path(str(ROOT / "scripts" / "write_settings.py"))["settings_table"]()
    assert (ROOT / "docs" / "settings.md").read_text("utf-8") == table, "run scripts/write_settings.py"


def test_evidence_of_the_crowd_is_up_to_date() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "write_settings.py"))
    document = (ROOT / "docs" / "crowd.md").read_text("utf-8")
    assert script["with_tables"](document, script["crowd_tables"]()) == document, "run scripts/write_settings.py"
