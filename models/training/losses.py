"""The two losses, from the log-likelihoods of packed candidates."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from webrec.models.adapter import AdaptedLlama
from webrec.models.packing import PackedBatch, candidate_likelihoods
from webrec.models.training.config import TrainingConfig


def losses(totals: Tensor, batch: PackedBatch, config: TrainingConfig) -> Tensor:
    """One loss for each example, shape (B,), from the candidates' log-likelihoods `totals`, shape (C,).

    title: mean negative log-likelihood per token of the target (Eq. 17). listwise:
    `−ln softmax(mean log-likelihoods / temperature)[target]`.
    """
    means = torch.split(totals / batch.lengths, batch.counts)
    if config.loss == "title":
        return torch.stack([-m[t] for m, t in zip(means, batch.targets, strict=True)])
    return torch.stack([-(m / config.temperature).log_softmax(0)[t] for m, t in zip(means, batch.targets, strict=True)])


class LossModule(nn.Module):
    """Adapter and loss as one module, so that torch's DistributedDataParallel can wrap it."""

    def __init__(self, adapted: AdaptedLlama, config: TrainingConfig) -> None:
        super().__init__()
        self.adapted, self.config = adapted, config

    def forward(self, batch: PackedBatch, weights: Tensor) -> Tensor:
        """Σ_b weights_b · loss_b, `weights` of shape (B,)."""
        return (losses(candidate_likelihoods(self.adapted, batch), batch, self.config) * weights).sum()
