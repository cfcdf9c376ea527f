"""Ties by hash: unequal scores keep their order, equal ones get what chance gives, order and batch say nothing."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from webrec.eval.data.dataset import RankingExample, TrainingData
from webrec.eval.systems.counting import Popularity
from webrec.eval.systems.ties import TiesByHash

from .contract import SystemContract


class TestTiesByHash(SystemContract):
    @staticmethod
    def make() -> TiesByHash:
        return TiesByHash(Popularity())


@given(st.lists(st.sampled_from([0.0, 1.0, 1.0 + 1e-9, 2.5, 1e6]), min_size=2, max_size=20))
def test_unequal_scores_keep_their_order(counts: list[float]) -> None:
    ids = tuple(f"i{n}" for n in range(len(counts)))
    system = TiesByHash(Popularity())
    system.fit(TrainingData({}, {}, dict(zip(ids, counts, strict=True))), 0)  # type: ignore[arg-type]
    scores = system.rank(RankingExample("u#0", "u", 0, (), ids, ids[0]))
    for own, count in zip(scores, counts, strict=True):
        for other, its in zip(scores, counts, strict=True):
            if count < its:
                assert own < other


def test_equal_scores_get_what_chance_gives() -> None:
    ids = tuple(f"i{n}" for n in range(20))
    system = TiesByHash(Popularity())
    system.fit(TrainingData({}, {}, {}), 0)
    ranks = []
    for number in range(2000):
        example = RankingExample(f"u{number}#0", "u", 0, (), ids, "i7")
        scores = system.rank(example)
        assert len(set(scores)) == 20
        assert scores == system.rank(replace(example, target=""))
        ranks.append(sum(score > scores[7] for score in scores))
    assert abs(sum(rank < 10 for rank in ranks) / 2000 - 0.5) < 0.05
    assert abs(sum(ranks) / 2000 - 9.5) < 0.5
