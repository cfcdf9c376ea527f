"""Losses against their formulas in float64, and the learning rate."""

from __future__ import annotations

import math
import random

import pytest
import torch
from torch import nn

from webrec.models.packing import EncodedExample, pack
from webrec.models.training.config import TrainingConfig
from webrec.models.training.losses import losses
from webrec.models.training.optimiser import make_optimiser, rate_factor


@pytest.mark.parametrize("loss", ["title", "listwise"])
def test_losses(loss: str) -> None:
    draw = random.Random(1)
    examples = [
        EncodedExample(str(n), [5], [[6] * draw.randint(1, 5) for _ in range(count)], draw.randrange(count))
        for n, count in enumerate((1, 3, 20))
    ]
    config = TrainingConfig.model_validate({"loss": loss, "temperature": 0.7})
    totals = [[draw.uniform(-40, -1) for _ in e.candidates] for e in examples]
    expected = []
    for example, given in zip(examples, totals, strict=True):
        means = [t / len(c) for t, c in zip(given, example.candidates, strict=True)]
        if loss == "title":
            expected.append(-means[example.target])
        else:
            norm = sum(math.exp(m / 0.7) for m in means)
            expected.append(-math.log(math.exp(means[example.target] / 0.7) / norm))
    flat = torch.tensor([t for given in totals for t in given], dtype=torch.float64)
    assert losses(flat, pack(examples), config).tolist() == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_title_loss_of_target_only_is_the_same() -> None:
    examples = [EncodedExample("a", [5], [[6, 7], [8], [9, 9, 9]], 2)]
    config = TrainingConfig(loss="title")
    everything = losses(torch.tensor([-3.0, -1.0, -6.0]), pack(examples), config)
    target = losses(torch.tensor([-6.0]), pack(examples, only_target=True), config)
    assert everything.tolist() == target.tolist() == [2.0]


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
@pytest.mark.parametrize("warmup", [0, 1, 10, 200])
def test_rate(schedule: str, warmup: int) -> None:
    config = TrainingConfig.model_validate({"schedule": schedule, "warmup_steps": warmup})
    rates = [rate_factor(step, 100, config) for step in range(100)]
    assert all(0 < r <= 1 for r in rates)
    rising = rates[: min(warmup, 100)]
    assert rising == sorted(rising)
    falling = rates[warmup:]
    assert falling == sorted(falling, reverse=True)
    if schedule != "constant" and warmup < 100:
        assert falling[-1] < 0.05


def test_groups() -> None:
    trained = {
        "head.layers.2.gate": nn.Parameter(torch.zeros(())),
        "head.layers.2.output.weight": nn.Parameter(torch.zeros(2, 2)),
        "head.layers.2.entity.bias": nn.Parameter(torch.zeros(2)),
    }
    groups = make_optimiser(trained, TrainingConfig(weight_decay=0.3)).param_groups
    assert [(g["peak"], g["weight_decay"]) for g in groups] == [(1e-2, 0.0), (1e-3, 0.3), (1e-3, 0.0)]
    assert sum(len(g["params"]) for g in groups) == 3
