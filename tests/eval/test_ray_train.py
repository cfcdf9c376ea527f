"""Training on Ray workers: the numbers of one process, also after a worker was killed; what it listens on; its speed."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from webrec.errors import ConfigurationError, InputError, TrainingError
from webrec.eval import ray_cluster, ray_train
from webrec.eval.ray_train import train_on_ray
from webrec.eval.train_config import TrainRunConfig, read_config
from webrec.eval.train_run import train_here
from webrec.models.training.loop import TrainingResult

from .runs import numbers, rows, write_rows, write_run

pytestmark = pytest.mark.slow
WEBREC = Path(sys.executable).parent / "webrec"


def config(folder: Path, backbone: Path, **settings: Any) -> TrainRunConfig:
    return read_config(write_run(folder, backbone, **settings))


def check_same(found: TrainRunConfig, expected: TrainRunConfig) -> None:
    """The same rows, and numbers equal to rounding."""
    first, second = numbers(expected.output), numbers(found.output)
    assert [sorted(row) for row in second] == [sorted(row) for row in first]
    for row, other in zip(second, first, strict=True):
        assert row == {k: v if isinstance(v, str) else pytest.approx(v, rel=2e-3, abs=1e-5) for k, v in other.items()}


def results(found: TrainingResult, expected: TrainingResult) -> None:
    assert found.steps == expected.steps
    assert found.kept_ndcg10 == pytest.approx(expected.kept_ndcg10, abs=1e-6)


def listening(pids: set[int]) -> list[str]:
    """Addresses other than the loopback ones on which these processes listen (Linux)."""
    inodes = set()
    for pid in pids:
        try:
            inodes |= {str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()}
        except OSError:
            continue
    open_ones = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            own = f"socket:[{fields[9]}]" in inodes
            loopback = fields[1].startswith(("0100007F", "0000000000000000FFFF00000100007F", "0" * 24 + "01000000"))
            if fields[3] == "0A" and own and not loopback:
                open_ones.append(fields[1])
    return open_ones


def descendants() -> set[int]:
    """Processes that this one started, and that those started."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def test_two_workers_are_one_process(tmp_path: Path, tiny_bytes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fits: list[Any] = []
    fit = ray_train._fit
    monkeypatch.setattr(ray_train, "_fit", lambda *given: fits.append(fit(*given)))
    one, two = config(tmp_path / "one", tiny_bytes), config(tmp_path / "two", tiny_bytes)
    expected = train_here(one)
    events: list[dict[str, Any]] = []
    open_ones: list[str] = []

    def hear(event: dict[str, Any]) -> None:
        events.append(event)
        if event["event"] == "step" and event["step"] == 2 and Path("/proc/net/tcp").exists():
            open_ones.extend(listening(descendants()))

    before = dict(os.environ)
    results(train_on_ray(two, 2, on_event=hear), expected)
    check_same(two, one)
    if not ray_cluster._imported_before():  # as tests of other systems do, which then chose where it listens
        assert open_ones == []
    assert fits[0].metrics["step"] == 15
    assert fits[0].metrics["ndcg10"] == pytest.approx(numbers(one.output)[-1]["ndcg10"], abs=1e-6)
    assert dict(os.environ) == before
    assert sorted(e["rank"] for e in events if e["event"] == "started") == [0, 1]
    assert [e["step"] for e in events if e["event"] == "step"] == list(range(1, 16))
    assert not (two.output / ".ray").exists()
    (start,) = json.loads((two.output / "run.json").read_text())["starts"]
    assert start["workers"] == 2
    assert start["threads"] <= max(1, (os.cpu_count() or 1) // 2)
    again: list[str] = []
    results(train_on_ray(two, 2, on_event=lambda e: again.append(e["event"])), expected)
    assert again == ["finished"]


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_worker_is_replaced(tmp_path: Path, tiny_bytes: Path, rank: int) -> None:
    one, two = config(tmp_path / "one", tiny_bytes), config(tmp_path / "two", tiny_bytes)
    expected = train_here(one)
    workers: dict[int, int] = {}
    heard: list[str] = []

    def hear(event: dict[str, Any]) -> None:
        heard.append(event["event"])
        if event["event"] == "started" and heard.count("restarted") == 0:
            workers[event["rank"]] = event["pid"]
        if event["event"] == "checkpoint" and event["step"] == 6 and "restarted" not in heard:
            os.kill(workers[rank], signal.SIGKILL)

    results(train_on_ray(two, 2, on_event=hear), expected)
    assert heard.count("restarted") == 1
    assert heard.count("resumed") == 1
    check_same(two, one)
    assert len(json.loads((two.output / "run.json").read_text())["starts"]) == 2


def test_workers_lost_too_often(tmp_path: Path, tiny_bytes: Path) -> None:
    given = config(tmp_path, tiny_bytes)

    def kill(event: dict[str, Any]) -> None:
        if event["event"] == "started":
            os.kill(event["pid"], signal.SIGKILL)

    with pytest.raises(TrainingError, match=r"workers: worker \d was lost too often .*; call again to go on"):
        train_on_ray(given, 1, max_failures=0, on_event=kill)


def test_a_run_of_one_process_goes_on_with_ray(tmp_path: Path, tiny_bytes: Path) -> None:
    one, two = config(tmp_path / "one", tiny_bytes), config(tmp_path / "two", tiny_bytes)
    expected = train_here(one)
    steps: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        train_here(two, on_event=lambda e: steps.append(e.get("step", 0)), stop=lambda: 7 in steps)
    results(train_on_ray(two, 1), expected)
    check_same(two, one)


def test_what_only_a_worker_finds_wrong_is_told(tmp_path: Path, tiny_bytes: Path) -> None:
    too_long = config(tmp_path / "long", tiny_bytes, prompt={"prompt_tokens": 64})
    with pytest.raises(InputError, match=r"train: train\.jsonl, user 0: history and candidates: they need"):
        train_on_ray(too_long, 2)
    wrong = config(tmp_path / "wrong", tiny_bytes, head={"layers": [7]})
    with pytest.raises(ConfigurationError, match=r"head\.layers: 7 is outside the backbone"):
        train_on_ray(wrong, 1)


def test_a_cluster_that_does_not_answer(tmp_path: Path, tiny_bytes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    with pytest.raises(ConfigurationError, match=r"RAY_ADDRESS: no Ray cluster lets us in at '127\.0\.0\.1:9'"):
        train_on_ray(config(tmp_path, tiny_bytes), 1)


def test_speed_of_two_against_one(tmp_path: Path) -> None:
    """Prints; a machine with other work says nothing about time, so nothing is asked of it."""
    config_file = write_run(
        tmp_path,
        Path("smollm2-135m-instruct"),
        examples=24,
        head={"kind": "pairwise"},
        training={"epochs": 1, "batch_size": 4, "validate_every": 1000},
    )
    speeds = {}
    for name, options in {
        "one process": [],
        "one process, 1 thread": [],
        "1 Ray worker": ["--workers", "1"],
        "2 Ray workers": ["--workers", "2"],
    }.items():
        command = [WEBREC, "train", config_file, "--set", f"output={name}", *options]
        environment = {**os.environ, **({"OMP_NUM_THREADS": "1"} if "1 thread" in name else {})}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        lines = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        speeds[name] = statistics.median(r["examples_per_second"] for r in lines if r["kind"] == "step")
    print(f"\nload of the machine {os.getloadavg()[0]:.1f}")
    print("examples per second, training steps only:", {n: round(s, 3) for n, s in speeds.items()})


def test_ctrl_c_and_going_on(tmp_path: Path, tiny_bytes: Path) -> None:
    config_file = write_run(tmp_path, tiny_bytes, training={"epochs": 400})
    process = subprocess.Popen(
        [WEBREC, "train", config_file, "--workers", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    while line := process.stderr.readline():
        if line.startswith("step 5 of"):
            break
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "call the same command again to go on" in errors
    assert "Traceback" not in errors


def test_bad_data_is_told_before_ray_starts(tmp_path: Path, tiny_bytes: Path) -> None:
    given = config(tmp_path, tiny_bytes)
    write_rows(given.train, [{**rows(1, 1)[0], "target": "x"}])
    heard: list[str] = []
    with pytest.raises(InputError, match="line 1: target: 'x'"):
        train_on_ray(given, 2, on_event=lambda e: heard.append(e["event"]))
    assert heard == []


def test_a_cluster_of_two_machines(tmp_path: Path, tiny_bytes: Path) -> None:
    """One that was there before, with a token: `RAY_ADDRESS` names it."""
    expected = config(tmp_path / "one", tiny_bytes)
    train_here(expected)
    given = write_run(tmp_path / "two", tiny_bytes)
    environment = {
        **os.environ,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "0123456789abcdef" * 4,
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    code = f"""
import os, subprocess
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={{"num_cpus": 1, "include_dashboard": False}})
cluster.add_node(num_cpus=1)
command = [{str(WEBREC)!r}, "train", {str(given)!r}, "--workers", "2"]
done = subprocess.run(command, env={{**os.environ, "RAY_ADDRESS": cluster.address}})
cluster.shutdown()
raise SystemExit(done.returncode)
"""
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "step 15 of 15" in done.stderr
    check_same(read_config(given), expected)
    (start,) = json.loads((tmp_path / "two" / "run" / "run.json").read_text())["starts"]
    assert (start["workers"], start["threads"]) == (2, 1)
