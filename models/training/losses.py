"""The two losses, from the log-likelihoods of packed candidates."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from webrec.models.adapter import AdaptedLlama
from webrec.models.config import ScoreBy
from webrec.models.packing import PackedBatch, candidate_likelihoods
from webrec.models.training.config import TrainingConfig

_TEMPERATURE = {"mean": 0.4, "sum": 3.0, "pmi": 3.0}
"""Sums of a title's eight tokens or so are larger than their mean."""


def scores(totals: Tensor, batch: PackedBatch, by: ScoreBy) -> Tensor:
    """What ranks the candidates, shape (C,), from their log-likelihoods. Raises `ValueError` if `by` is pmi and `anyones` is not known."""
    if by == "mean":
        return totals / batch.lengths
    if by == "sum":
        return totals
    if batch.anyones is None:
        raise ValueError("pmi needs `anyones` of every example")
    return totals - batch.anyones


def losses(totals: Tensor, batch: PackedBatch, config: TrainingConfig) -> Tensor:
    """One loss for each example, shape (B,), from the candidates' log-likelihoods `totals`, shape (C,).

    title: mean negative log-likelihood per token of the target (Eq. 17). listwise:
    `−ln softmax(scores / temperature)[target]`.
    """
    if config.loss == "title":
        means = torch.split(totals / batch.lengths, batch.counts)
        return torch.stack([-m[t] for m, t in zip(means, batch.targets, strict=True)])
    by, temperature = config.score_by, config.temperature or _TEMPERATURE[config.score_by]
    logits = torch.split(scores(totals, batch, by) / temperature, batch.counts)
    return torch.stack([-one.log_softmax(0)[t] for one, t in zip(logits, batch.targets, strict=True)])


class LossModule(nn.Module):
    """Adapter and loss as one module, so that torch's DistributedDataParallel can wrap it."""

    def __init__(self, adapted: AdaptedLlama, config: TrainingConfig) -> None:
        super().__init__()
        self.adapted, self.config = adapted, config

    def forward(self, batch: PackedBatch, weights: Tensor) -> Tensor:
        """Σ_b weights_b · loss_b, `weights` of shape (B,)."""
        return (losses(candidate_likelihoods(self.adapted, batch), batch, self.config) * weights).sum()
