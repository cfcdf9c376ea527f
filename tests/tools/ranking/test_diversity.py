"""Maximal marginal relevance against a slow reading of its definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from webrec.tools.ranking.diversity import choose_diverse


def reference(similarities: list[float], vectors: list[list[float]], count: int, diversity: float) -> list[int]:
    def dot(i: int, j: int) -> float:
        return sum(a * b for a, b in zip(vectors[i], vectors[j], strict=True))

    chosen: list[int] = []
    while len(chosen) < min(count, len(similarities)):
        best, best_score = -1, float("-inf")
        for i in range(len(similarities)):
            if i in chosen:
                continue
            score = (1 - diversity) * similarities[i]
            if chosen:
                score -= diversity * max(dot(i, j) for j in chosen)
            if score > best_score:
                best, best_score = i, score
        chosen.append(best)
    return chosen


@given(st.integers(0, 2**32 - 1), st.integers(0, 12), st.integers(0, 14), st.sampled_from([0.0, 0.25, 0.3, 0.5, 1.0]))
def test_is_the_definition(seed: int, results: int, count: int, diversity: float) -> None:
    generator = np.random.default_rng(seed)
    # Coordinates of which all products and sums are exact, so that ties are ties; the definition asks for no unit length.
    vectors = generator.integers(-2, 3, (results, 3)).astype(np.float32)
    similarities = (generator.integers(-8, 9, results) / 8).tolist()
    diversity = round(diversity * 4) / 4
    expected = reference(similarities, vectors.tolist(), count, diversity)
    assert choose_diverse(similarities, vectors, count, diversity) == expected


def test_none_is_plain_relevance() -> None:
    vectors = np.eye(4, dtype=np.float32)
    assert choose_diverse([0.1, 0.9, 0.9, 0.5], vectors, 4, 0.0) == [1, 2, 3, 0]


def test_a_copy_of_the_best_gives_way() -> None:
    vectors = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    similarities = [0.9, 0.89, 0.6]
    assert choose_diverse(similarities, vectors, 2, 0.0) == [0, 1]
    assert choose_diverse(similarities, vectors, 2, 0.3) == [0, 2]
    assert choose_diverse(similarities, vectors, 3, 1.0) == [0, 2, 1]


@pytest.mark.parametrize("count", [0, 5])
def test_nothing_to_choose(count: int) -> None:
    assert choose_diverse([], np.zeros((0, 3), dtype=np.float32), count, 0.3) == []
