"""docs/train.md: its example is a run, its commands work as they stand, its tables say what the code says."""

from __future__ import annotations

import json
import re
import runpy
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from webrec.cli.main import main

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "train.md").read_text("utf-8")
ROW, CONFIG = (re.findall(rf"```{kind}\n(.*?)```", DOCUMENT, re.DOTALL)[0] for kind in ("json", "toml"))
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", DOCUMENT, re.DOTALL) for line in block.splitlines()]


def run(folder: Path, command: str, *more: str) -> None:
    program, *arguments = shlex.split(command)
    assert program == "webrec"
    done = CliRunner().invoke(main, [*arguments, *more])
    assert done.exit_code == 0, done.output


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of the document, and the user of the last command."""
    monkeypatch.chdir(tmp_path)
    for name in ("train.jsonl", "valid.jsonl"):
        Path(name).write_text(ROW * 9, "utf-8")
    Path("run.toml").write_text(CONFIG, "utf-8")
    user = {name: json.loads(ROW)[name] for name in ("history", "candidates", "target")}
    Path("user.json").write_text(json.dumps(user), "utf-8")
    return tmp_path


def test_there_are_commands() -> None:
    assert [c.split()[1] for c in COMMANDS] == ["train", "train", "recommend", "train"]
    assert [("--workers" in c) for c in COMMANDS] == [False, False, False, True]


def test_commands_with_a_tiny_llama(folder: Path, tiny_sentencepiece: Path) -> None:
    for command in COMMANDS[:3]:
        backbone = f"backbone={tiny_sentencepiece}"
        run(folder, command, *(["--set", backbone] if " train " in command else [f"--{backbone}"]))
    assert json.loads((folder / "runs" / "first" / "result.json").read_text("utf-8"))["result"]["steps"] == 10
    assert json.loads((folder / "runs" / "short" / "result.json").read_text("utf-8"))["result"]["steps"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS[1:2] + COMMANDS[3:])
def test_commands_as_they_stand(folder: Path, command: str) -> None:
    run(folder, command)


def test_the_tables_are_up_to_date() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "write_settings.py"))
    assert script["with_tables"](DOCUMENT, script["train_tables"]()) == DOCUMENT, "run scripts/write_settings.py"


def test_every_file_of_a_run_is_told(folder: Path, tiny_sentencepiece: Path) -> None:
    run(folder, COMMANDS[1], "--set", f"backbone={tiny_sentencepiece}")
    found = {p.name for p in (folder / "runs" / "short").iterdir() if not p.name.startswith(".")}
    told = {
        name.strip("/")
        for line in re.findall(r"^\| (`.*?) \|", DOCUMENT, re.MULTILINE)
        for name in re.findall(r"`(.*?)`", line)
    }
    assert found <= told
