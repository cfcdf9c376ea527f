"""Two processes under DistributedDataParallel train as one does, whatever is left over in the last batch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from webrec.models.training.config import TrainingConfig
from webrec.models.training.loop import train

from .worker import numbers, run_worker, task, tiny_adapted

CONFIG: dict[str, Any] = {
    "epochs": 2, "batch_size": 4, "micro_batch": 1, "warmup_steps": 2, "validate_every": 2, "checkpoint_every": 2,
    "patience": 50, "learning_rate": 1e-3, "gate_learning_rate": 1e-2,
}  # fmt: skip
HEADS: dict[str, dict[str, Any] | None] = {
    "none": None,
    "literal": {"layers": (1,), "top_k": 6},
    "linear": {"kind": "linear", "layers": (1,), "top_k": 6},
    "pairwise": {"kind": "pairwise", "layers": (0, 1), "hops": 2, "top_k": 6},
    "mixing identity": {"kind": "pairwise", "layers": (1,), "top_k": 6, "mixing": "identity"},
    "mixing uniform": {"kind": "pairwise", "layers": (1,), "top_k": 6, "mixing": "uniform"},
    "nothing learned beside": {
        "kind": "pairwise", "layers": (1,), "top_k": 6, "task_scale": False, "relevance_bias": False,
        "learned_depth": False,
    },
    "no task": {"layers": (1,), "top_k": 6, "task_feature": "zero"},
}  # fmt: skip


def check_two_are_one(tmp_path: Path, adapter: dict[str, Any], config: dict[str, Any], examples: int) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    train(tiny_adapted(**adapter), task(examples, 1), task(5, 2), TrainingConfig(**config), one, fingerprint={})
    answer = run_worker(output=str(two), adapter=adapter, config=config, train=examples, valid=5, world=2, seconds=120)
    assert answer["statuses"] == [0, 0], answer["errors"]
    expected, found = numbers(one), numbers(two)
    assert [sorted(row) for row in found] == [sorted(row) for row in expected]
    for row, other in zip(found, expected, strict=True):
        assert row == {k: v if isinstance(v, str) else pytest.approx(v, rel=2e-3, abs=1e-5) for k, v in other.items()}
    # Of the first step, which Adam has not touched yet, more can be asked.
    first, other = (next(r for r in rows if r["kind"] == "step") for rows in (found, expected))
    assert first["loss"] == pytest.approx(other["loss"], rel=1e-6)
    assert first["gradient_norm"] == pytest.approx(other["gradient_norm"], rel=1e-4)
    ranks = [json.loads((two / f"rank-{rank}.json").read_text()) for rank in (0, 1)]
    assert ranks[0] == ranks[1]


@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS)
def test_every_head(tmp_path: Path, head: str) -> None:
    check_two_are_one(tmp_path, {"head": HEADS[head]}, CONFIG, 9)  # the last batch: one example for two processes


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tuning", "micro_batch", "examples", "loss"),
    [
        ("lora", 1, 8, "listwise"),  # nothing left over
        ("lora", 1, 7, "title"),
        ("lora", 2, 11, "listwise"),
        ("soft_prompt", 2, 11, "title"),
        ("soft_prompt", 3, 9, "listwise"),  # one example in the last batch, more than that in a pass
    ],
)
def test_every_remainder(tmp_path: Path, tuning: str, micro_batch: int, examples: int, loss: str) -> None:
    config = {**CONFIG, "micro_batch": micro_batch, "loss": loss}
    check_two_are_one(tmp_path, {"tuning": tuning, "head": HEADS["literal"]}, config, examples)


@pytest.mark.slow
def test_processes_that_find_different_checkpoints_do_not_go_on(tmp_path: Path) -> None:
    """As where a folder is no shared one: averaged gradients of different steps would train nothing that anybody asked for."""
    both = [tmp_path / "one", tmp_path / "other"]
    options: dict[str, Any] = {
        "adapter": {"head": None},
        "config": CONFIG | {"keep_checkpoints": 9},
        "train": 8,
        "valid": 5,
        "world": 2,
    }
    assert run_worker(output=str(both[0]), **options)["statuses"] == [0, 0]
    (both[0] / "result.json").unlink()
    (both[0] / "rendezvous").unlink(missing_ok=True)
    newest = sorted((both[0] / "checkpoints").glob("step-*"))[-1]
    shutil.rmtree(newest)
    shutil.copytree(both[0], both[1])
    shutil.rmtree(sorted((both[1] / "checkpoints").glob("step-*"))[-1])
    answer = run_worker(output=str(both[0]), outputs={"1": str(both[1])}, **options)
    assert answer["statuses"] == [1, 1]
    assert "TrainingError: output: the workers found different states of the run (step 2, step 0)" in answer["errors"]
    assert not (both[0] / "result.json").exists()
    state = next((both[1] / "checkpoints").glob("step-*")) / "state.json"
    state.write_text(state.read_text().replace('"seed": 0', '"seed": 1'))  # one folder holds another run
    answer = run_worker(output=str(both[0]), outputs={"1": str(both[1])}, **options)
    assert answer["statuses"] == [1, 1]
    assert answer["errors"].count("ConfigurationError: output: ") == 2
    answer = run_worker(output=str(both[0]), **options)
    assert answer["statuses"] == [0, 0], answer["errors"]
