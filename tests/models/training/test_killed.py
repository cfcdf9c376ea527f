"""A run killed with SIGKILL at any time, also while it writes, ends as one that never was."""

from __future__ import annotations

from pathlib import Path

import pytest

from webrec.models.training.config import TrainingConfig
from webrec.models.training.loop import train

from .worker import numbers, run_worker, task, tiny_adapted

CONFIG = {"epochs": 3, "batch_size": 4, "micro_batch": 2, "warmup_steps": 2, "patience": 50}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tuning", "checkpoint_every", "validate_every"), [("lora", 1, 2), ("lora", 4, 3), ("soft_prompt", 2, 1)]
)
def test_killed_at_random_times(tmp_path: Path, tuning: str, checkpoint_every: int, validate_every: int) -> None:
    adapter = {"tuning": tuning, "head": {"kind": "pairwise", "layers": (1,), "top_k": 6}, "dropout": 0.2}
    config = {**CONFIG, "checkpoint_every": checkpoint_every, "validate_every": validate_every}
    expected, killed = tmp_path / "unbroken", tmp_path / "killed"
    train(tiny_adapted(**adapter), task(18, 1), task(6, 2), TrainingConfig(**config), expected, fingerprint={})
    answer = run_worker(
        output=str(killed), adapter=adapter, config=config, train=18, valid=6, seed=3, kills=30, between=(0.02, 0.5)
    )
    assert answer["status"] == 0
    assert answer["kills_after_a_checkpoint"] >= 3  # else it was killed before there was anything to lose
    assert numbers(killed) == numbers(expected)
    files = sorted(p.relative_to(expected) for p in (expected / "adapter").rglob("*.safetensors"))
    assert len(files) == 2
    for file in files:
        assert (killed / file).read_bytes() == (expected / file).read_bytes()
    newest = "checkpoints/step-0000015/state.safetensors"
    assert (killed / newest).read_bytes() == (expected / newest).read_bytes()
    assert (killed / "result.json").read_text() == (expected / "result.json").read_text()
