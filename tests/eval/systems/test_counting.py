"""The systems that count, against readable references, and random at chance."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

import numpy as np
import pytest

from webrec.errors import ConfigurationError
from webrec.eval.data.dataset import Item, RankingExample, TrainingData
from webrec.eval.metrics.ranking import metric_values, target_ranks
from webrec.eval.systems.co_occurrence import CoOccurrence
from webrec.eval.systems.counting import IdOrder, InversePopularity, Popularity, Random
from webrec.eval.systems.item_knn import ItemKNN

from ...worlds import skewed  # noqa: TID252
from .contract import EXAMPLES, TRAINING, SystemContract

SEQUENCES = {
    user: tuple(t.item_id for t in taken) for user, taken in skewed(users=60, items=40, length=9, seed=3).users.items()
}
COUNTS = {i: sum(s.count(i) for s in SEQUENCES.values()) for i in {i for s in SEQUENCES.values() for i in s}}
CROWD = TrainingData(skewed(users=60, items=40, length=9, seed=3).items, SEQUENCES, COUNTS)
EXAMPLE = RankingExample("k", "u", 0, ("i1", "i2", "i3", "i2"), tuple(f"i{n}" for n in range(4, 24)), "")


class TestRandom(SystemContract):
    make = staticmethod(Random)
    learns = False


class TestPopularity(SystemContract):
    make = staticmethod(Popularity)


class TestInversePopularity(SystemContract):
    make = staticmethod(InversePopularity)


class TestIdOrder(SystemContract):
    make = staticmethod(IdOrder)
    learns = False


class TestItemKNN(SystemContract):
    make = staticmethod(ItemKNN)


class TestCoOccurrence(SystemContract):
    make = staticmethod(CoOccurrence)


def test_random_is_at_chance_and_draws_differ() -> None:
    system = Random()
    system.fit(CROWD, 0)
    examples = [RankingExample(f"u{n}#0", f"u{n}", 0, ("i1",), EXAMPLE.candidates, "") for n in range(4000)]
    values = metric_values(target_ranks(system.rank_many(examples), np.zeros(4000, int)))
    assert values["hr@10"].mean() == pytest.approx(0.5, abs=0.025)
    assert values["ndcg@10"].mean() == pytest.approx(0.227, abs=0.015)
    other = Random()
    other.fit(CROWD, 1)
    assert other.rank(EXAMPLE) != system.rank(EXAMPLE)


def test_popularity_and_its_inverse() -> None:
    system, inverse = Popularity(), InversePopularity()
    system.fit(CROWD, 0)
    inverse.fit(CROWD, 0)
    assert system.rank(EXAMPLE) == [COUNTS.get(i, 0) for i in EXAMPLE.candidates]
    assert inverse.rank(EXAMPLE) == [-COUNTS.get(i, 0) for i in EXAMPLE.candidates]


@pytest.mark.parametrize(
    ("ids", "order"),
    [
        (["9", "10", "11", "100", "2"], ["11", "100", "9", "2"]),  # numbers: not 10, 100, 11, 2, 9
        (["B1", "B2", "A", "C", "10"], ["C", "B1", "A", "10"]),
    ],
)
def test_id_order(ids: list[str], order: list[str]) -> None:
    system = IdOrder()
    system.fit(TrainingData({i: Item(i, i) for i in ids}, {}), 0)
    last = next(iter(set(ids) - set(order)))
    scores = system.rank(RankingExample("k", "u", 0, ("9" if "9" in ids else "A", last), tuple(ids), ""))
    by_item = dict(zip(ids, scores, strict=True))
    assert sorted(order, key=lambda i: -by_item[i]) == order
    assert len(set(scores)) == len(ids)


def test_item_knn_is_the_sum_of_cosines() -> None:
    takers = {i: {user for user, sequence in SEQUENCES.items() if i in sequence} for i in CROWD.items}

    def cosine(a: str, b: str) -> float:
        both = sqrt(len(takers[a]) * len(takers[b]))
        return len(takers[a] & takers[b]) / both if both else 0.0

    system = ItemKNN()
    system.fit(CROWD, 0)
    expected = [sum(cosine(h, c) for h in set(EXAMPLE.history)) for c in EXAMPLE.candidates]
    assert system.rank(EXAMPLE) == pytest.approx(expected)
    assert max(expected) > 0


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_co_occurrence_counts_pairs_near_one_another(steps: int) -> None:
    def near(a: str, b: str) -> int:
        return sum(
            1
            for sequence in SEQUENCES.values()
            for i, first in enumerate(sequence)
            for j, second in enumerate(sequence)
            if 0 < abs(i - j) <= steps and (first, second) == (a, b)
        )

    system = CoOccurrence(steps, popularity_breaks_ties=False)
    system.fit(CROWD, 0)
    expected = [sum(near(h, c) for h in set(EXAMPLE.history)) for c in EXAMPLE.candidates]
    assert system.rank(EXAMPLE) == expected
    broken = CoOccurrence(steps)
    broken.fit(CROWD, 0)
    order = sorted(range(20), key=lambda n: (expected[n], COUNTS.get(EXAMPLE.candidates[n], 0)))
    scores = broken.rank(EXAMPLE)
    assert [scores[n] for n in order] == sorted(scores)


def test_who_looks_at_the_last_item_finds_the_next() -> None:
    def value(make: Callable[[], Any]) -> float:
        system = make()
        system.fit(TRAINING, 0)
        ranks = target_ranks(system.rank_many(EXAMPLES), [e.candidates.index(e.target) for e in EXAMPLES])
        return float(metric_values(ranks)["ndcg@10"].mean())

    assert value(CoOccurrence) > value(Popularity) + 0.2
    assert value(ItemKNN) > value(Popularity) + 0.2


def test_wrong_settings() -> None:
    with pytest.raises(ConfigurationError, match="steps must be at least 1"):
        CoOccurrence(0)
