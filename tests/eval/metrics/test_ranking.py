"""The metrics against torchmetrics, a readable reference, and the values that chance has."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webrec.errors import InputError
from webrec.eval.metrics.ranking import METRICS, chance, metric_values, target_ranks

ROWS = st.integers(2, 25).flatmap(
    lambda n: st.tuples(
        st.lists(st.sampled_from([-1.5, 0.0, 0.25, 1.0, 7.0]), min_size=n, max_size=n), st.integers(0, n - 1)
    )
)


@given(ROWS)
def test_the_rank_counts_ties_against_the_target(row: tuple[list[float], int]) -> None:
    scores, target = row
    others = [score for place, score in enumerate(scores) if place != target]
    assert target_ranks([scores], [target])[0] == 1 + sum(score >= scores[target] for score in others)


@given(ROWS, st.randoms())
def test_the_order_of_the_candidates_changes_nothing(row: tuple[list[float], int], random: Any) -> None:
    scores, target = row
    places = list(range(len(scores)))
    random.shuffle(places)
    moved = target_ranks([[scores[p] for p in places]], [places.index(target)])
    assert moved[0] == target_ranks([scores], [target])[0]


def test_each_metric_is_what_its_formula_says() -> None:
    ranks = np.array([1, 2, 5, 6, 10, 11, 20])
    values = metric_values(ranks)
    assert tuple(values) == METRICS
    for place, rank in enumerate(ranks.tolist()):
        gain = 1 / math.log2(rank + 1)
        expected = {
            "ndcg@10": gain if rank <= 10 else 0,
            "ndcg@5": gain if rank <= 5 else 0,
            "hr@10": float(rank <= 10),
            "hr@5": float(rank <= 5),
            "hr@1": float(rank == 1),
            "mrr": 1 / rank,
        }
        assert {name: float(values[name][place]) for name in METRICS} == pytest.approx(expected, rel=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_maintained_library_says_the_same(seed: int) -> None:
    retrieval = pytest.importorskip("torchmetrics.functional.retrieval")
    import torch

    generator = np.random.default_rng(seed)
    scores, target = generator.random(20), int(generator.integers(20))  # no ties and none below 0: it leaves those out
    values = metric_values(target_ranks([scores], [target]))
    relevant = torch.zeros(20, dtype=torch.bool)
    relevant[target] = True
    given_scores = torch.tensor(scores)
    for at in (5, 10):
        theirs = retrieval.retrieval_normalized_dcg(given_scores, relevant, top_k=at)
        assert values[f"ndcg@{at}"][0] == pytest.approx(float(theirs), abs=1e-6)
        assert values[f"hr@{at}"][0] == float(retrieval.retrieval_hit_rate(given_scores, relevant, top_k=at))
    assert values["mrr"][0] == pytest.approx(
        float(retrieval.retrieval_reciprocal_rank(given_scores, relevant)), abs=1e-6
    )


def test_chance() -> None:
    found = chance(20)
    expected = {"hr@5": 0.25, "hr@10": 0.5, "hr@1": 0.05}
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert (round(found["ndcg@5"], 3), round(found["ndcg@10"], 3)) == (0.147, 0.227)
    random = metric_values(target_ranks(np.random.default_rng(0).normal(size=(40_000, 20)), np.zeros(40_000, int)))
    assert {name: float(value.mean()) for name, value in random.items()} == pytest.approx(found, abs=0.01)


@pytest.mark.parametrize(
    ("scores", "targets", "message"),
    [
        ([1.0, 2.0], [0], "scores must be"),
        ([[1.0, 2.0]], [0, 1], "scores must be"),
        ([[1.0, 2.0]], [2], "columns from 0 to 1"),
        ([[1.0, 2.0]], [-1], "columns from 0 to 1"),
        ([[1.0, 2.0]], [0.5], "column numbers"),
        ([[1.0, 2.0], [float("nan"), 2.0]], [1, 1], "NaN in example 1"),
    ],
)
def test_wrong_input_is_named(scores: Any, targets: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        target_ranks(scores, targets)


def test_ranks_count_from_one() -> None:
    with pytest.raises(InputError, match="count from 1"):
        metric_values(np.array([0]))
    with pytest.raises(InputError, match="at least 1"):
        chance(0)
