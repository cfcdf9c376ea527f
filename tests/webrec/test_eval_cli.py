"""`webrec eval` as a user meets it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

import yaml

from ..worlds import skewed, write_dataset  # noqa: TID252


def write_config(folder: Path, systems: object = ("random", "popularity"), **data: object) -> Path:
    write_dataset(folder / "films", skewed(users=100, items=150, flat=3))
    told = {
        "output": "run",
        "data": [{"path": "films", "min_interactions": 0, "draws": 2, "samplings": ["uniform"], **data}],
        "systems": list(systems),  # type: ignore[call-overload]
    }
    path = folder / "eval.yaml"
    path.write_text(yaml.safe_dump(told), encoding="utf-8")
    return path


def command(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "WEBREC_CACHE": str(folder / "cache")}
    called = [sys.executable, "-m", "webrec", "eval", *map(str, arguments)]
    return subprocess.run(called, capture_output=True, text=True, env=environment, cwd=folder, check=False)


def test_the_table_and_going_on(tmp_path: Path) -> None:
    done = command(tmp_path, write_config(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "films, uniform candidates, 100 users" in done.stdout
    first = [line.split()[0] for line in done.stdout.splitlines() if line.startswith(("random", "popularity"))]
    assert first[0] == "popularity"  # of the uniform table, best first
    assert "400 rows" in done.stderr
    again = command(tmp_path, "--resume", "run")
    assert again.stdout == done.stdout
    assert not (tmp_path / "run" / "report.html").exists()
    reported = command(tmp_path, "--resume", "run", "--report")
    assert reported.stdout.startswith(done.stdout)
    assert reported.stdout.splitlines()[-3].endswith("report.html")
    assert "popularity" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "400 rows, 400 of them there already" in again.stderr


def test_it_says_what_is_left_out(tmp_path: Path) -> None:
    config, data = write_config(tmp_path), skewed(users=100, items=150, flat=3)
    users = {**data.users, "u0": data.users["u0"][:1]}
    items = {**data.items, "i9": replace(data.items["i9"], title="")}
    write_dataset(tmp_path / "films", replace(data, users=users, items=items))
    told = command(tmp_path, config).stderr
    assert "films, left out: items without a title: 1; users with fewer than three items: 1\n" in told


def test_it_says_what_is_in_an_order_by_chance(tmp_path: Path) -> None:
    config, data = write_config(tmp_path), skewed(users=100, items=150, flat=3)
    first = data.users["u0"]
    tied = tuple(replace(one, time=first[0].time) if number < 3 else one for number, one in enumerate(first))
    assert first[0].time is not None
    write_dataset(tmp_path / "films", replace(data, users={**data.users, "u0": tied}))
    told = "films: 3 interactions with the time of another of their user are in an order by chance (same_time)\n"
    assert told in command(tmp_path, config).stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"drwas": 1}, "data[0].drwas: there is no such field; remove it or check its spelling"),
        ({"path": "nowhere"}, "path: "),
        ({"candidates": 999}, "candidates: "),
        ({"min_interactions": 400}, "min_interactions: nobody in films is left"),
    ],
)
def test_wrong_settings_are_one_sentence(tmp_path: Path, change: dict[str, object], message: str) -> None:
    done = command(tmp_path, write_config(tmp_path, **change))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert not (tmp_path / "run").exists()


def test_one_of_config_and_resume(tmp_path: Path) -> None:
    assert "give either a file of settings or --resume" in command(tmp_path).stderr
    assert command(tmp_path).returncode == 2
    both = command(tmp_path, write_config(tmp_path), "--resume", "run")
    assert "give either" in both.stderr
    assert "keeps its settings" in command(tmp_path, "--resume", "run", "--set", "threads=2").stderr
    assert "holds no evaluation" in command(tmp_path, "--resume", "run").stderr


@pytest.mark.slow
def test_ctrl_c_before_the_run_began(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    code = (
        "import signal, webrec.eval.data.build as build\n"
        "build.find_source = lambda *_: signal.raise_signal(signal.SIGINT)\n"
        "from webrec.cli.main import main; main(['eval', 'eval.yaml'])"
    )
    environment = {**os.environ, "WEBREC_CACHE": str(tmp_path / "cache")}
    called = [sys.executable, "-c", code]
    done = subprocess.run(called, capture_output=True, text=True, env=environment, cwd=config.parent, check=False)
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1] == "webrec: interrupted before the run began; call the same command again"


def test_ctrl_c_keeps_what_was_answered(tmp_path: Path) -> None:
    pytest.importorskip("replay")
    slow = {"kind": "sasrec", "epochs": 2000, "patience": 2000, "width": 8, "blocks": 1}
    path = write_config(tmp_path, ["random", slow, "popularity"])
    environment = {**os.environ, "WEBREC_CACHE": str(tmp_path / "cache")}
    process = subprocess.Popen(
        [sys.executable, "-m", "webrec", "eval", str(path)], stderr=subprocess.PIPE, text=True, env=environment
    )
    curve = tmp_path / "run" / "systems" / "films" / "sasrec" / "seed-0" / "training.json"
    while process.poll() is None and not curve.exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted after 200 of 600 rows, which are kept; go on with: webrec eval --resume" in said
    epochs = len(json.loads(curve.read_text())["curve"])
    process = subprocess.Popen(
        [sys.executable, "-m", "webrec", "eval", "--resume", str(tmp_path / "run")], env=environment
    )
    while process.poll() is None and len(json.loads(curve.read_text())["curve"]) < epochs + 3:
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert [e["epoch"] for e in json.loads(curve.read_text())["curve"]][: epochs + 3] == list(range(1, epochs + 4))
