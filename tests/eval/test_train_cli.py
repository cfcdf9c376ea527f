"""`webrec train`: a run, a finished run, bad settings, Ctrl-C, and the adapter in use."""

from __future__ import annotations

import importlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from webrec import __version__
from webrec.cli.main import main

from .runs import numbers, rows, write_rows, write_run


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def done(tiny_bytes: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A finished run's configuration, and what the command said."""
    config = write_run(tmp_path_factory.mktemp("done"), tiny_bytes, prompt={"pages": 2, "seed": 3})
    return config, run("train", config, "--set", "training.epochs=2")


def test_a_run_and_the_use_of_its_adapter(done: tuple[Path, Result], tmp_path: Path) -> None:
    config, result = done
    assert result.exit_code == 0, result.output
    output = config.parent / "run"
    assert result.stdout.count("\n") == 1
    assert result.stdout.startswith("kept: step ")
    assert "before training" in result.stdout
    assert "step 10 of 10: NDCG@10 0." in result.stderr
    command = shlex.split(result.stdout.partition("use it: ")[2])
    assert command[:5] == ["webrec", "recommend", "FILE", "--adapter", str(output / "adapter")]
    assert command[command.index("--seed") + 1] == "3"
    user = {k: v for k, v in rows(1, 9)[0].items() if k != "pages"}
    write_rows(tmp_path / "user.json", [user])
    answer = run(
        "recommend",
        tmp_path / "user.json",
        *command[3:],
        "--providers",
        "sample",
        "--query-strategy",
        "prompt",
        "--json",
    )
    assert answer.exit_code == 0, answer.output
    scored = json.loads(answer.stdout)
    assert scored["head"] == "pairwise (layer 1, 1 hop, top 16)"
    assert scored["settings"]["pages"] == 2


def test_run_json_tells_all(done: tuple[Path, Result]) -> None:
    config, _ = done
    said = json.loads((config.parent / "run" / "run.json").read_text("utf-8"))
    assert said["config"]["train"] == str(config.parent / "train.jsonl")
    assert said["config"]["training"]["epochs"] == 2
    assert set(said["sha256"]) == {"train", "valid"}
    assert said["seeds"] == {"prompt": 3, "training": 0}
    (start,) = said["starts"]
    assert (start["device"], start["dtype"], start["workers"]) == ("cpu", "float32", 1)
    assert start["versions"]["webrec"] == __version__
    assert {"torch", "transformers", "peft"} <= set(start["versions"])
    assert "commit" in start


def test_a_finished_run_does_nothing_and_says_so(done: tuple[Path, Result]) -> None:
    config, first = done
    output = config.parent / "run"
    before = {p: p.stat().st_mtime_ns for p in output.rglob("*") if p.name != ".lock"}
    again = run("train", config, "--set", "training.epochs=2")
    assert again.exit_code == 0, again.output
    assert "this run is finished, so nothing was done" in again.stdout
    assert again.stdout.splitlines()[-1] == first.stdout.strip()
    assert {p: p.stat().st_mtime_ns for p in output.rglob("*") if p.name != ".lock"} == before


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (["training.epochs=3"], "(training.epochs is 2 there and 3 now); give another folder"),
        (["training.epochs=2", "prompt.seed=4"], "(prompt.seed is 3 there and 4 now)"),
        (["training.epochs=2", "head=none"], "(head is 'pairwise' there and None now)"),
        (["training.epochs=2", "train=valid.jsonl"], "(train (sha256) is "),
    ],
)
def test_another_runs_folder_is_refused(done: tuple[Path, Result], changes: list[str], sentence: str) -> None:
    result = run("train", done[0], *[part for change in changes for part in ("--set", change)])
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (["training.epochs=none"], "training.epochs: Input should be a valid integer"),
        (["train=no.jsonl"], "no.jsonl is not a file that exists"),
        (["train=bad.jsonl"], "train: bad.jsonl, line 2: target: "),
        (["head.layers=[2]"], "head.layers: 2 is outside the backbone; use 0 to 1"),
        (['tuning.targets=["no_proj"]'], "tuning.targets: "),
        (["prompt.prompt_tokens=64"], "train: train.jsonl, user 0: history and candidates: they need"),
        (["output=."], "give a new folder"),
        (["backbone=/no/such/model"], "backbone: '/no/such/model' is neither a folder"),
        (["device=cuda:77"], "device: 'cuda:77' is not available here"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_exit_code_2(
    tmp_path: Path, tiny_bytes: Path, monkeypatch: pytest.MonkeyPatch, changes: list[str], sentence: str
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    config = write_run(tmp_path, tiny_bytes)
    write_rows(tmp_path / "bad.jsonl", [rows(1, 1)[0], {**rows(1, 1)[0], "target": "x"}])
    result = run("train", config, *[part for change in changes for part in ("--set", change)])
    assert result.exit_code == 2, result.output
    assert sentence in result.stderr
    assert "Traceback" not in result.output
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("package", "extra"), [("peft", "train"), ("tensorboard", "train"), ("ray", "ray"), ("torch", "model")]
)
def test_a_missing_extra_is_named(
    tmp_path: Path, tiny_bytes: Path, monkeypatch: pytest.MonkeyPatch, package: str, extra: str
) -> None:
    real = importlib.util.find_spec
    for module in ("models.backbone", "eval.train_run", "eval.ray_cluster"):
        monkeypatch.setattr(f"webrec.{module}.find_spec", lambda name: None if name == package else real(name))
    result = run("train", write_run(tmp_path, tiny_bytes), *(["--workers", "2"] if extra == "ray" else []))
    assert result.exit_code == 2
    assert f"{package} is not installed; install it with: pip install 'webrec[{extra}]'" in result.stderr
    assert not (tmp_path / "run").exists()


def test_a_folder_in_use_is_refused(tmp_path: Path, tiny_bytes: Path) -> None:
    from webrec.eval.train_config import read_config
    from webrec.eval.train_folder import TrainFolder

    config = write_run(tmp_path, tiny_bytes)
    with TrainFolder(read_config(config)):
        result = run("train", config)
    assert result.exit_code == 2
    assert "another process is writing to" in result.stderr


def test_interrupted_says_how_to_go_on_and_goes_on(tmp_path: Path, tiny_bytes: Path) -> None:
    config = write_run(tmp_path, tiny_bytes, training={"epochs": 200, "checkpoint_every": 1000})
    command = [Path(sys.executable).parent / "webrec", "train", config]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    metrics = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (metrics.exists() and '"step": 3,' in metrics.read_text()):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert out == ""
    assert "call the same command again to go on" in errors.splitlines()[-1]
    step = int(errors.splitlines()[-1].partition("at step ")[2].partition(";")[0])
    assert (tmp_path / "run" / "checkpoints" / f"step-{step:07d}").is_dir()
    assert numbers(tmp_path / "run")[-1]["step"] == step
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    said = [process.stderr.readline() for _ in range(2)]
    process.kill()
    process.communicate()
    assert said[1] == f"going on from step {step:,} of 1,000\n"
