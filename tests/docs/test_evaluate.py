"""docs/evaluate.md: its example is a run, its commands work as they stand, its tables say what the code says."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path
from typing import get_args

import pytest
from click.testing import CliRunner

pytest.importorskip("pyarrow")

from webrec.cli.main import main
from webrec.eval.systems.config import AnySystem

from ..worlds import skewed, write_dataset  # noqa: TID252

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "evaluate.md").read_text("utf-8")
CONFIG = re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)[0]
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", DOCUMENT, re.DOTALL) for line in block.splitlines()]


def test_commands_as_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WEBREC_CACHE", str(tmp_path / "cache"))
    write_dataset(tmp_path / "films", skewed(users=300, items=200, length=10, flat=3000))
    Path("eval.yaml").write_text(CONFIG, "utf-8")
    tables = []
    for command in COMMANDS:
        program, *arguments = shlex.split(command)
        assert program == "webrec"
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 0, done.output
        tables.append(done.stdout)
    assert (
        tables[0].split("rows and summary")[0]
        == tables[1].split("rows and summary")[0]
        != tables[2].split("rows and")[0]
    )
    kept = [p.relative_to(tmp_path / "runs" / "first") for p in (tmp_path / "runs" / "first").rglob("*") if p.is_file()]
    for path in kept:
        assert path.parts[0] in {"rows", ".lock"} or f"`{path.name}`" in DOCUMENT


def test_the_tables_are_up_to_date() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "write_settings.py"))
    assert script["with_tables"](DOCUMENT, script["eval_tables"]()) == DOCUMENT, "run scripts/write_settings.py"


def test_every_kind_is_told() -> None:
    union, _ = get_args(AnySystem)
    for model in get_args(union):
        assert f"`{model.model_fields['kind'].get_default()}`" in DOCUMENT
