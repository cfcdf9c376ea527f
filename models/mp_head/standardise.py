"""Head inputs without what is the same for every token: shifted and scaled by numbers measured before training (ours).

In a trained LLaMA keys and queries before the rotary embedding are mostly one constant vector: in layer 2 of SmolLM2-135M four fifths
of their power. Entities made of them are all nearly one, whatever the token, and so is what a head reads out of them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

MIN_VARIANCE = 1e-6
"""Of the mean variance of all channels: one that hardly varies is not blown up."""


class Standardise(nn.Module):
    """`(x − μ) / σ` of each channel; as it is until `set` has been called. Buffers, so they are saved and never trained."""

    mean: Tensor
    scale: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.measured = False

    def forward(self, x: Tensor) -> Tensor:
        """Of (..., width)."""
        return (x - self.mean.to(x.dtype)) / self.scale.to(x.dtype)

    def set(self, moments: Moments) -> None:
        """Take μ and σ of what `moments` was given."""
        mean, variance = moments.mean_and_variance()
        floor = MIN_VARIANCE * variance.mean().clamp_min(torch.finfo(torch.float32).tiny)
        self.mean = mean.to(self.mean)
        self.scale = variance.clamp_min(floor).sqrt().to(self.scale)
        self.measured = True

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.measured = bool((self.scale != 1).any())


class Moments:
    """Mean and variance of rows that come a few at a time, in float64 (Chan et al.: no difference of large sums)."""

    def __init__(self) -> None:
        self.count = 0
        self._mean: Tensor | None = None
        self._spread: Tensor | None = None

    def add(self, rows: Tensor) -> None:
        """Count (n, width) rows in."""
        rows = rows.detach().to("cpu", torch.float64)  # not every device has float64
        count, mean = len(rows), rows.mean(0)
        spread = (rows - mean).square().sum(0)
        if self._mean is None or self._spread is None:
            self.count, self._mean, self._spread = count, mean, spread
            return
        total, apart = self.count + count, mean - self._mean
        self._mean = self._mean + apart * (count / total)
        self._spread = self._spread + spread + apart.square() * (self.count * count / total)
        self.count = total

    def mean_and_variance(self) -> tuple[Tensor, Tensor]:
        """Of every row, each of shape (width,). Raises `ValueError` where there was none."""
        if self._mean is None or self._spread is None:
            raise ValueError("prompts: there is none to measure; give at least one")
        return self._mean, self._spread / self.count
