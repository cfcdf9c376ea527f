"""Maximal marginal relevance: results that are near the target and unlike each other (Carbonell and Goldstein, 1998)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def choose_diverse(
    similarities: Sequence[float], vectors: NDArray[np.float32], count: int, diversity: float
) -> list[int]:
    """Indices of `count` results, chosen one after the other; of equal ones the first.

    Each time the one with the highest (1 - d) · similarity - d · (its highest similarity to a chosen one) is taken, d being
    `diversity` from 0 (relevance alone) to 1. `vectors`: unit length, shape (results, width), in the order of
    `similarities`, which are those to the target.
    """
    import numpy as np

    relevance = (1 - diversity) * np.asarray(similarities, dtype=np.float64)
    nearest_chosen = np.full(len(similarities), -np.inf)
    left = np.ones(len(similarities), dtype=bool)
    chosen: list[int] = []
    while len(chosen) < min(count, len(similarities)):
        score = relevance if not chosen or diversity == 0 else relevance - diversity * nearest_chosen
        best = int(np.argmax(np.where(left, score, -np.inf)))
        chosen.append(best)
        left[best] = False
        nearest_chosen = np.maximum(nearest_chosen, vectors.astype(np.float64) @ vectors[best].astype(np.float64))
    return chosen
