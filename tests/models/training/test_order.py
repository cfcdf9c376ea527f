"""Which examples a step sees: each once an epoch, in an order that only seed and epoch decide, shared by processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from webrec.models.packing import EncodedExample
from webrec.models.training import loop
from webrec.models.training.config import TrainingConfig
from webrec.models.training.loop import _Run

from .worker import task, tiny_adapted


class Recorder:
    """Stands where the passes are: notes the keys and weights of each, in place of a loss."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passes: list[tuple[list[str], float]] = []
        self.packed: list[str] = []
        monkeypatch.setattr(loop, "pack", self.pack)
        monkeypatch.setattr(_Run, "_accumulate", self.accumulate)
        monkeypatch.setattr(_Run, "_add_up", lambda run, tensor: None)

    def pack(self, examples: list[EncodedExample], *args: Any, **kwargs: Any) -> Any:
        self.packed = [e.key for e in examples]
        return type("Packed", (), {"counts": [1] * len(examples), "size": 1})()

    def accumulate(self, packed: Any, weights: torch.Tensor, *, last: bool) -> torch.Tensor:
        self.passes.append((self.packed, float(weights[0])))
        return torch.zeros(())


def steps_of(recorder: Recorder, adapted: Any, config: TrainingConfig, count: int, rank: int, world: int) -> list[Any]:
    """For each step of a run the passes that process `rank` computes."""
    run = _Run(
        adapted, task(count, 1), task(1, 2), config, Path("unused"), {}, rank, world, lambda m: m, lambda e: None
    )
    run.metrics = None
    run.trained = adapted.trained()
    run.optimiser = torch.optim.SGD(list(run.trained.values()), lr=0.0)
    run.optimiser.param_groups[0]["peak"] = 0.0
    found = []
    while run.progress.step < run.total:
        recorder.passes = []
        run._step()
        found.append(recorder.passes)
    return found


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 23),
    batch_size=st.integers(1, 9),
    micro_batch=st.integers(1, 4),
    world=st.integers(1, 4),
    seed=st.integers(0, 99),
)
@example(count=7, batch_size=4, micro_batch=1, world=2, seed=0)  # three examples left for two processes
@example(count=9, batch_size=4, micro_batch=3, world=4, seed=0)  # one for four
@example(count=23, batch_size=5, micro_batch=2, world=1, seed=1)
def test_every_example_once_an_epoch(count: int, batch_size: int, micro_batch: int, world: int, seed: int) -> None:
    config = TrainingConfig(epochs=2, batch_size=batch_size, micro_batch=micro_batch, seed=seed)
    adapted = tiny_adapted()
    with pytest.MonkeyPatch.context() as monkeypatch:
        recorder = Recorder(monkeypatch)
        alone = steps_of(recorder, adapted, config, count, 0, 1)
        ranks = [steps_of(recorder, adapted, config, count, rank, world) for rank in range(world)]
    batches = [[key for keys, _ in passes for key in keys] for passes in alone]
    per_epoch = len(batches) // 2
    for epoch in (0, 1):
        seen = [key for batch in batches[epoch * per_epoch : (epoch + 1) * per_epoch] for key in batch]
        assert sorted(seen) == sorted(f"user {n}" for n in range(count))
    for number, batch in enumerate(batches):
        shares = [steps[number] for steps in ranks]
        assert len({len(share) for share in shares}) == 1  # as many passes in each, or one would wait for ever
        counted = [key for share in shares for keys, weight in share if weight > 0 for key in keys]
        assert sorted(counted) == sorted(batch)
        # The mean over processes of what each adds up gives every example the same weight, 1 / batch.
        weights = [w / world for share in shares for keys, w in share for _ in keys if w > 0]
        assert weights == pytest.approx([1 / len(batch)] * len(batch))
    if count >= 8:  # by chance the same in fewer than one of 40,000
        assert sum(batches[:per_epoch], []) != sum(batches[per_epoch:], [])  # noqa: RUF017
