"""The learned likeness against its equation, term by term in float64."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from webrec.tools.crowd.similarity import LearnedSimilarity


def similarity(seed: int = 0, items: int = 12, width: int = 5, length: int = 4) -> LearnedSimilarity:
    rng = np.random.default_rng(seed)

    def rows() -> npt.NDArray[np.float32]:
        drawn = rng.normal(size=(items, width))
        return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)

    return LearnedSimilarity(rows(), rows(), rng.normal(size=length), rng.normal(size=items), 8.0)


def reference(model: LearnedSimilarity, past: list[int], candidate: int) -> float:
    total = 0.0
    for age, item in enumerate(reversed(past)):
        if age == len(model.ages):
            break
        cosine = sum(float(a) * float(b) for a, b in zip(model.keys[item], model.values[candidate], strict=True))
        total += math.exp(float(model.ages[age]) + model.scale * cosine)
    return float(model.bias[candidate]) + (math.log(total) if past else 0.0)


@given(
    st.integers(0, 50),
    st.lists(st.integers(0, 11), max_size=7),
    st.lists(st.integers(0, 11), min_size=1, max_size=6),
)
def test_it_is_the_equation(seed: int, past: list[int], candidates: list[int]) -> None:
    model = similarity(seed)
    found = model.scores(np.array(past, np.int64), np.array(candidates, np.int64))
    assert found.tolist() == pytest.approx([reference(model, past, c) for c in candidates], abs=1e-5)


def test_items_before_the_last_ones_and_the_order_of_candidates_change_nothing() -> None:
    model = similarity()
    past, asked = np.array([1, 2, 3, 4, 5]), np.array([6, 7, 8])
    assert model.scores(past, asked).tolist() == model.scores(past[1:], asked).tolist()
    assert model.scores(past, asked[::-1]).tolist() == model.scores(past, asked)[::-1].tolist()
    assert model.scores(past, asked).tolist() != model.scores(past[::-1], asked).tolist()


def test_large_scales_overflow_nothing() -> None:
    model = similarity()
    steep = replace(model, scale=1e6)
    assert np.isfinite(steep.scores(np.array([1, 2]), np.arange(12))).all()
