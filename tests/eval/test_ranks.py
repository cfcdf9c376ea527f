"""Where the target ends up: ties count against it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webrec.eval.ranks import target_rank
from webrec.nodes.schema import RankedCandidate


def ranking(scores: list[float]) -> list[RankedCandidate]:
    return [
        RankedCandidate(rank=i + 1, index=i, title=f"t{i}", score=s, mean=s, sum=s, tokens=1, probability=0.1)
        for i, s in enumerate(scores)
    ]


def test_ties_count_against_the_target() -> None:
    assert [target_rank(ranking([3, 2, 2, 1]), f"t{i}") for i in range(4)] == [1, 3, 3, 4]


def test_a_target_that_is_no_candidate() -> None:
    with pytest.raises(ValueError, match="not among the candidates"):
        target_rank(ranking([1, 2]), "other")


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=12))
def test_rank_is_one_plus_the_others_at_least_as_good(scores: list[int]) -> None:
    ranked = ranking([float(s) for s in scores])
    for i, own in enumerate(scores):
        assert target_rank(ranked, f"t{i}") == 1 + sum(s >= own for j, s in enumerate(scores) if j != i)
