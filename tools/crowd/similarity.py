"""How alike two items are to those who take them one after the other: a likeness of texts that was learned from sequences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from webrec.tools.crowd.pairs import Floats, Ints

LEARNED = ("learned_similarity", "learned_similarity, rank")
"""Its evidence in a choice model: the score, and its rank among the candidates."""
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class TextMaps:
    """What turns embeddings of texts into keys and values, for items that nothing was learned of: normalise(map · (x - mean)).

    `mean`: (width,). `key`, `value`: (width, width).
    """

    mean: Vectors
    key: Vectors
    value: Vectors

    def keys(self, vectors: Vectors) -> Vectors:
        """(texts, width), rows of length 1."""
        return _normalised((vectors - self.mean) @ self.key.T)

    def values(self, vectors: Vectors) -> Vectors:
        """(texts, width), rows of length 1."""
        return _normalised((vectors - self.mean) @ self.value.T)


def _normalised(rows: npt.NDArray[np.floating]) -> Vectors:
    lengths = np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return np.asarray(rows / lengths, np.float32)


@dataclass(frozen=True)
class LearnedSimilarity:
    """score(c) = bias_c + ln sum_j exp(age_j + scale · key_j · value_c), j over the last `len(ages)` items of a history.

    `keys`, `values`: (items, width), rows of length 1, what an item says of others and what others say of it. `ages`: (L,), of the
    last item first. `bias`: (items,), how often an item is taken. So one item that is close counts, however many others there are.
    `maps`: keys and values of other items, from the embeddings of their texts.
    """

    keys: Vectors
    values: Vectors
    ages: Floats
    bias: Floats
    scale: float
    maps: TextMaps | None = None

    def scores(self, past: Ints, candidates: Ints) -> Floats:
        """(candidates,), nats up to a constant, for the numbers of a history, oldest first. Without a history the bias alone."""
        return self.scores_of(self.keys[past], self.values[candidates], self.bias[candidates])

    def scores_of(self, keys: Vectors, values: Vectors, bias: Floats) -> Floats:
        """The same of a history's keys, oldest first, and the candidates' values and biases, learned or mapped from texts."""
        recent = keys[::-1][: len(self.ages)]
        if not len(recent) or not len(values):
            return bias
        # One candidate at a time: the last bits of a product of two matrices depend on their order.
        cosines = np.stack([recent @ value for value in values]).astype(np.float64)
        logits = self.scale * cosines + self.ages[: len(recent)]
        top = logits.max(1, keepdims=True)
        found: Floats = bias + top[:, 0] + np.log(np.exp(logits - top).sum(1))
        return found
