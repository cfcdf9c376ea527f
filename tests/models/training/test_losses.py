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


@pytest.mark.parametrize(
    ("loss", "by"),
    [("title", "mean"), ("title", "pmi"), ("listwise", "mean"), ("listwise", "sum"), ("listwise", "pmi")],
)
def test_losses(loss: str, by: str) -> None:
    draw = random.Random(1)
    examples = [
        EncodedExample(
            str(n),
            [5],
            [[6] * draw.randint(1, 5) for _ in range(count)],
            draw.randrange(count),
            [draw.uniform(-30, -1) for _ in range(count)],
        )
        for n, count in enumerate((1, 3, 20))
    ]
    config = TrainingConfig.model_validate({"loss": loss, "temperature": 0.7, "score_by": by})
    totals = [[draw.uniform(-40, -1) for _ in e.candidates] for e in examples]
    expected = []
    for example, given in zip(examples, totals, strict=True):
        means = [t / len(c) for t, c in zip(given, example.candidates, strict=True)]
        if loss == "title":
            expected.append(-means[example.target])
        else:
            assert example.anyones is not None
            pmi = [t - alone for t, alone in zip(given, example.anyones, strict=True)]
            scored = {"mean": means, "sum": given, "pmi": pmi}[by]
            largest = max(scored)
            norm = sum(math.exp((s - largest) / 0.7) for s in scored)
            expected.append(-math.log(math.exp((scored[example.target] - largest) / 0.7) / norm))
    flat = torch.tensor([t for given in totals for t in given], dtype=torch.float64)
    packed = pack(examples)
    assert losses(flat, packed, config).tolist() == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_pmi_needs_what_it_takes_away() -> None:
    known, unknown = (EncodedExample("a", [5], [[6], [7, 8]], 1, alone) for alone in ([-2.0, -9.0], None))
    config = TrainingConfig(score_by="pmi", temperature=1.0)
    (loss,) = losses(torch.tensor([-3.0, -8.0]), pack([known]), config).tolist()
    assert loss == pytest.approx(
        math.log(1 + math.exp(-2)), rel=1e-6
    )  # scores -1 and 1, though the mean prefers neither
    with pytest.raises(ValueError, match="pmi needs `anyones` of every example"):
        losses(torch.tensor([-3.0, -8.0, -3.0, -8.0]), pack([known, unknown]), config)
    with pytest.raises(ValueError, match="anyones has 1 values"):
        EncodedExample("a", [5], [[6], [7, 8]], 1, [-2.0])


@pytest.mark.parametrize(("by", "usual"), [("mean", 0.4), ("sum", 3.0), ("pmi", 3.0)])
def test_the_usual_temperature(by: str, usual: float) -> None:
    packed = pack([EncodedExample("a", [5], [[6], [7, 8]], 1, [-2.0, -9.0])])
    told = [
        losses(
            torch.tensor([-3.0, -8.0]), packed, TrainingConfig.model_validate({"score_by": by, "temperature": t})
        ).item()
        for t in (None, usual)
    ]
    assert told[0] == told[1]


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
