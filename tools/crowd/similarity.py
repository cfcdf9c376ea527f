"""How alike two items are to those who take them one after the other: a likeness of texts that was learned from sequences."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from webrec.tools.crowd.pairs import Floats, Ints

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class LearnedSimilarity:
    """score(c) = bias_c + ln sum_j exp(age_j + scale · cos(key x_j, value x_c)), j over the last `len(ages)` items of a history.

    `vectors`: (items, width), what texts say of items; `key`, `value`: (width, width), what of it speaks for other items, and what is
    spoken for. `ages`: (L,), of the last item first. `bias`: (items,), how often an item is taken. So one item that is close
    counts, however many others there are.
    """

    vectors: Vectors
    key: Vectors
    value: Vectors
    ages: Floats
    bias: Floats
    scale: float
    _keys: Vectors = field(init=False, repr=False)
    _values: Vectors = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_keys", _unit(self.vectors @ self.key.T))
        object.__setattr__(self, "_values", _unit(self.vectors @ self.value.T))

    def scores(self, past: Ints, candidates: Ints) -> Floats:
        """(candidates,), nats up to a constant, for the numbers of a history, oldest first. Without a history the bias alone."""
        bias = self.bias[candidates]
        recent = past[::-1][: len(self.ages)]
        if not len(recent):
            return bias
        keys = self._keys[recent]
        # One candidate at a time: the last bits of a product of two matrices depend on their order.
        cosines = np.stack([keys @ self._values[candidate] for candidate in candidates.tolist()]).astype(np.float64)
        logits = self.scale * cosines + self.ages[: len(recent)]
        top = logits.max(1, keepdims=True)
        found: Floats = bias + top[:, 0] + np.log(np.exp(logits - top).sum(1))
        return found


def _unit(rows: Vectors) -> Vectors:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.maximum(lengths, 1e-12)).astype(np.float32)
