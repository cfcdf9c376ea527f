"""AdamW in three groups, and the learning rate as a function of the step."""

from __future__ import annotations

import math

import torch
from torch import nn

from webrec.models.training.config import TrainingConfig


def make_optimiser(trained: dict[str, nn.Parameter], config: TrainingConfig) -> torch.optim.AdamW:
    """Gates have a learning rate of their own; neither they nor vectors decay."""
    gates = [p for n, p in trained.items() if n.endswith(".gate")]
    matrices = [p for n, p in trained.items() if not n.endswith(".gate") and p.dim() > 1]
    vectors = [p for n, p in trained.items() if not n.endswith(".gate") and p.dim() <= 1]
    groups = [
        {"params": gates, "peak": config.gate_learning_rate, "weight_decay": 0.0},
        {"params": matrices, "peak": config.learning_rate, "weight_decay": config.weight_decay},
        {"params": vectors, "peak": config.learning_rate, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=config.learning_rate)


def rate_factor(step: int, total: int, config: TrainingConfig) -> float:
    """Share of the highest learning rate at `step`, counted from 0: above 0 at the first, and to the last."""
    if step < config.warmup_steps:
        return (step + 1) / (config.warmup_steps + 1)
    if config.schedule == "constant":
        return 1.0
    done = (step - config.warmup_steps) / max(1, total - config.warmup_steps)
    return 1 - done if config.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2


def set_rates(optimiser: torch.optim.Optimizer, factor: float) -> None:
    """Set the learning rate of every group."""
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * factor
