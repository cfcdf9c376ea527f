"""The network behind `learned_similarity`: two linear maps of fixed sentence embeddings, trained on what follows what."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from webrec.tools.crowd.similarity import LearnedSimilarity, Vectors

Piece = tuple[tuple[int, ...], int]
"""The items before a target, oldest first, and the target."""
_SCALE = 10.0
"""Of the cosines before training. The maps begin as identities, so an untrained network compares the embeddings themselves."""


class SimilarityNetwork(nn.Module):
    """P(c | history) over all items: softmax of bias_c + ln sum_j exp(age_j + scale · cos(K x_j, V x_c)).

    `vectors`: (items, width), the embeddings; their mean is taken off, which all texts of one trade share, and they are
    scaled to length 1. `length`: last items of a history that are read.
    """

    def __init__(self, vectors: Vectors, length: int) -> None:
        super().__init__()
        apart = torch.from_numpy(np.array(vectors, np.float32))
        apart = normalize(apart - apart.mean(0), dim=-1)
        self.register_buffer("vectors", apart, persistent=False)
        self.vectors: torch.Tensor
        items, width = vectors.shape
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        for linear in (self.key, self.value):
            nn.init.eye_(linear.weight)
        self.ages = nn.Parameter(torch.linspace(0, -1, length))
        self.log_scale = nn.Parameter(torch.tensor(math.log(_SCALE)))
        self.bias = nn.Parameter(torch.zeros(items))

    def keys(self, items: torch.Tensor) -> torch.Tensor:
        """(..., width)."""
        return normalize(self.key(self.vectors[items]), dim=-1)

    def values(self, items: torch.Tensor) -> torch.Tensor:
        """(..., width)."""
        return normalize(self.value(self.vectors[items]), dim=-1)

    def loss(self, pieces: Sequence[Piece], negatives: int, dropout: float) -> torch.Tensor:
        """Mean cross-entropy of each target against `negatives` items drawn evenly, the same for the batch, in nats.

        A negative that is the target itself is left out. `dropout`: share of the history left out, never its last item.
        """
        owner, item, age = self._steps(pieces, dropout)
        targets = torch.tensor([target for _, target in pieces])
        drawn = torch.randint(0, len(self.bias), (negatives,))
        keys = self.keys(item)
        right = (keys * self.values(targets)[owner]).sum(-1, keepdim=True)
        cosines = torch.cat([right, keys @ self.values(drawn).T], 1)
        # Cosines are at most 1, so the exponentials stay far below float32's largest number without a maximum taken off.
        weights = torch.exp(self.log_scale.exp() * cosines + self.ages[age][:, None])
        sums = torch.zeros(len(pieces), negatives + 1).index_add(0, owner, weights)
        bias = torch.cat([self.bias[targets][:, None], self.bias[drawn].expand(len(pieces), -1)], 1)
        same = torch.zeros(len(pieces), negatives + 1, dtype=torch.bool)
        same[:, 1:] = drawn == targets[:, None]
        logits = (sums.log() + bias).masked_fill(same, -torch.inf)
        return cross_entropy(logits, torch.zeros(len(pieces), dtype=torch.long))

    def _steps(self, pieces: Sequence[Piece], dropout: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Every history item that is read: whose, which, and how many came after it."""
        length = len(self.ages)
        told = [
            (number, item, age)
            for number, (past, _) in enumerate(pieces)
            for age, item in enumerate(past[::-1][:length])
        ]
        owner, item, age = torch.tensor(told).T
        kept = (torch.rand(len(owner)) >= dropout) | (age == 0)
        return owner[kept], item[kept], age[kept]

    def learned(self) -> LearnedSimilarity:
        """What it says, without torch."""
        return LearnedSimilarity(
            self.vectors.numpy(),
            self.key.weight.detach().numpy().copy(),
            self.value.weight.detach().numpy().copy(),
            self.ages.detach().double().numpy(),
            self.bias.detach().double().numpy(),
            float(self.log_scale.detach().exp()),
        )
