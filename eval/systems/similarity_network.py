"""The network behind `learned_similarity`: two maps of fixed sentence embeddings, trained on what follows what."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.functional import cross_entropy, dropout, normalize

from webrec.tools.crowd.similarity import LearnedSimilarity, TextMaps, Vectors

Piece = tuple[tuple[int, ...], int]
"""The items before a target, oldest first, and the target."""
_DROPPED = 0.3
"""Share of an offset's numbers left out in training, so that texts say what they can."""
_SCALE = 10.0
"""Of the cosines before training. The maps begin as identities, so an untrained network compares the embeddings themselves."""


class SimilarityNetwork(nn.Module):
    """P(c | history) over all items: softmax of bias_c + ln sum_j exp(age_j + scale · cos(K x_j + k_j, V x_c + v_c)).

    k and v are what an item has beyond its text; those of items that are not `taken` stay 0. As negatives alone they would learn
    one direction, "nobody takes this", in place of what their texts say.
    `vectors`: (items, width), the embeddings; their mean is taken off, which all texts of one trade share, they are turned to their
    principal axes, since Adam's steps are by coordinate, and scaled to length 1. `length`: last items of a history that are read. `taken`: (items,), whether training holds an item; None
    leaves k and v out.
    """

    def __init__(self, vectors: Vectors, length: int, taken: npt.NDArray[np.bool_] | None) -> None:
        super().__init__()
        apart = np.array(vectors, np.float64)
        self._mean = apart.mean(0)
        apart -= self._mean
        _, _, axes = np.linalg.svd(apart, full_matrices=False)
        self._axes = axes  # (at most width, width)
        turned = np.zeros_like(apart)
        turned[:, : len(axes)] = apart @ axes.T
        turned /= np.maximum(np.linalg.norm(turned, axis=1, keepdims=True), 1e-12)
        self.register_buffer("vectors", torch.from_numpy(turned.astype(np.float32)), persistent=False)
        self.vectors: torch.Tensor
        items, width = vectors.shape
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        for linear in (self.key, self.value):
            nn.init.eye_(linear.weight)
        self.key_offsets = None if taken is None else nn.Parameter(torch.zeros(items, width))
        self.value_offsets = None if taken is None else nn.Parameter(torch.zeros(items, width))
        mask = torch.zeros(items, 1) if taken is None else torch.from_numpy(taken).float()[:, None]
        self.register_buffer("taken", mask, persistent=False)
        self.taken: torch.Tensor
        self.ages = nn.Parameter(torch.linspace(0, -1, length))
        self.log_scale = nn.Parameter(torch.tensor(math.log(_SCALE)))
        self.bias = nn.Parameter(torch.zeros(items))

    def keys(self, items: torch.Tensor) -> torch.Tensor:
        """(items, width) of the numbered ones."""
        return self._mapped(self.key, self.key_offsets, items)

    def values(self, items: torch.Tensor) -> torch.Tensor:
        """(items, width) of the numbered ones."""
        return self._mapped(self.value, self.value_offsets, items)

    def _mapped(self, linear: nn.Linear, offsets: nn.Parameter | None, items: torch.Tensor) -> torch.Tensor:
        mapped = linear(self.vectors.index_select(0, items))
        if offsets is not None:
            own = offsets.index_select(0, items) * self.taken.index_select(0, items)
            mapped = mapped + dropout(own, _DROPPED, self.training)
        return normalize(mapped, dim=-1)

    def loss(self, pieces: Sequence[Piece], negatives: int, left_out: float) -> torch.Tensor:
        """Mean cross-entropy of each target against `negatives` items drawn evenly, the same for the batch, in nats.

        A negative that is the target itself is left out. `left_out`: share of the history, never its last item.
        """
        owner, item, age = self._steps(pieces, left_out)
        targets = torch.tensor([target for _, target in pieces])
        drawn = torch.randint(0, len(self.bias), (negatives,))
        keys = self.keys(item)
        # index_select throughout: the gradient of plain indexing adds up in no fixed order on several threads.
        right = (keys * self.values(targets).index_select(0, owner)).sum(-1, keepdim=True)
        cosines = torch.cat([right, keys @ self.values(drawn).T], 1)
        # Cosines are at most 1, so the exponentials stay far below float32's largest number without a maximum taken off.
        weights = torch.exp(self.log_scale.exp() * cosines + self.ages.index_select(0, age)[:, None])
        sums = torch.zeros(len(pieces), negatives + 1).index_add(0, owner, weights)
        of_target, of_drawn = self.bias.index_select(0, targets), self.bias.index_select(0, drawn)
        bias = torch.cat([of_target[:, None], of_drawn.expand(len(pieces), -1)], 1)
        same = torch.zeros(len(pieces), negatives + 1, dtype=torch.bool)
        same[:, 1:] = drawn == targets[:, None]
        logits = (sums.log() + bias).masked_fill(same, -torch.inf)
        return cross_entropy(logits, torch.zeros(len(pieces), dtype=torch.long))

    def _steps(self, pieces: Sequence[Piece], left_out: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Every history item that is read: whose, which, and how many came after it."""
        length = len(self.ages)
        told = [
            (number, item, age)
            for number, (past, _) in enumerate(pieces)
            for age, item in enumerate(past[::-1][:length])
        ]
        owner, item, age = torch.tensor(told).T
        kept = (torch.rand(len(owner)) >= left_out) | (age == 0)
        return owner[kept], item[kept], age[kept]

    def learned(self) -> LearnedSimilarity:
        """What it says, without torch; the network no longer trains after it, until `train` is called."""
        self.eval()
        with torch.no_grad():
            every = torch.arange(len(self.bias))
            return LearnedSimilarity(
                self.keys(every).numpy(),
                self.values(every).numpy(),
                self.ages.double().numpy(),
                self.bias.double().numpy(),
                float(self.log_scale.exp()),
                # Lengths between the two maps count for nothing, so axes and map are one.
                TextMaps(self._mean.astype(np.float32), self._map(self.key), self._map(self.value)),
            )

    def _map(self, linear: nn.Linear) -> Vectors:
        weight = linear.weight.detach().double().numpy()[:, : len(self._axes)]
        return np.asarray(weight @ self._axes, np.float32)
