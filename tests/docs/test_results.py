"""The tables of measurements in the documents are those of the result files."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "write_results.py"))


@pytest.mark.parametrize("name", SCRIPT["TABLES"])
def test_tables_are_of_the_result_files(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    report, read = SCRIPT["_report"], {}

    def noted(file: str) -> Any:
        read[file] = report(file)
        return read[file]

    monkeypatch.setitem(report.__globals__, "_report", noted)
    document = (ROOT / "docs" / name).read_text("utf-8")
    assert SCRIPT["filled"](name, document) == document, "run scripts/write_results.py"
    assert read
    if name == "results.md":
        for file, told in read.items():
            _tells_what_makes_it_again(file, told["run"])


def _tells_what_makes_it_again(file: str, run: dict[str, Any]) -> None:
    assert run["config"]["systems"], file
    assert run["seeds"]["training"], file
    assert all(data["digest"] and data["sources"] for data in run["data"].values()), file
    for start in [*run["starts"], *(start for other in run.get("taken", ()) for start in other["starts"])]:
        assert len(start["commit"]) == 40, f"{file}: {start['commit']} is no commit"
        assert start["versions"], file
        assert start.get("machine"), f"{file}: the start of {start['time']} names no machine"
