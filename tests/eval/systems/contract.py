"""What every system promises: a suite to inherit, `class TestMine(SystemContract): make = staticmethod(Mine)`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from webrec.errors import InputError
from webrec.eval.data.candidates import CandidateSampler
from webrec.eval.data.dataset import RankingExample, TrainingData
from webrec.eval.data.splitting import leave_one_out
from webrec.eval.metrics.ranking import metric_values, target_ranks
from webrec.eval.systems.counting import Popularity
from webrec.eval.systems.system import NotFittedError, System, answers

from ...worlds import chained, dataset  # noqa: TID252


def chain(
    users: int = 80, items: int = 60, length: int = 8, seed: int = 0
) -> tuple[TrainingData, list[RankingExample]]:
    """Users who mostly go from item n to n + 1: those who look at the last item can know the next."""
    data = dataset(chained(users, items, length, seed))
    split = leave_one_out(data)
    taken = {user: frozenset(t.item_id for t in own) for user, own in data.users.items()}
    sampler = CandidateSampler(split.training, taken, candidates=20, draws=1, seed=seed)
    examples = [
        RankingExample(
            key=f"{case.user}#0",
            user=case.user,
            draw=0,
            history=tuple(t.item_id for t in case.past),
            candidates=sampler.draw(case, "uniform")[0],
            target=case.target.item_id,
        )
        for case in split.test
    ]
    return split.training, examples


TRAINING, EXAMPLES = chain()


class SystemContract:
    """`make`: a new, unfitted system, quick to fit."""

    make: Callable[[], Any]
    learns = True
    """Whether another training changes its scores."""

    @pytest.fixture(scope="class")
    def fitted(self) -> System:
        system: System = self.make()
        system.fit(TRAINING, 0)
        return system

    def test_one_finite_score_for_each_candidate(self, fitted: System) -> None:
        given = answers(fitted, EXAMPLES)
        assert [len(a.scores) for a in given] == [20] * len(EXAMPLES)
        assert all(math.isfinite(score) for a in given for score in a.scores)
        assert len({a.scores for a in given}) > 1
        assert all(a.seconds >= 0 for a in given)

    def test_the_order_of_the_candidates_changes_nothing(self, fitted: System) -> None:
        for example in EXAMPLES[:10]:
            turned = replace(example, candidates=example.candidates[::-1])
            assert fitted.rank(turned) == pytest.approx(fitted.rank(example)[::-1], rel=1e-6, abs=1e-9)

    def test_a_batch_is_one_by_one(self, fitted: System) -> None:
        together = fitted.rank_many(EXAMPLES[:10])
        for example, scores in zip(EXAMPLES[:10], together, strict=True):
            assert scores == pytest.approx(fitted.rank(example), rel=1e-5, abs=1e-6)
        assert fitted.rank_many([]) == []

    def test_the_seed_decides(self, fitted: System) -> None:
        again = self.make()
        again.fit(TRAINING, 0)
        assert again.rank_many(EXAMPLES[:10]) == fitted.rank_many(EXAMPLES[:10])

    def test_fitting_forgets(self, fitted: System) -> None:
        other, _ = chain(users=30, seed=5)
        twice = self.make()
        twice.fit(replace(other, items=TRAINING.items), 1)
        before = twice.rank_many(EXAMPLES)
        twice.fit(TRAINING, 0)
        assert twice.rank_many(EXAMPLES) == fitted.rank_many(EXAMPLES)
        assert not self.learns or before != fitted.rank_many(EXAMPLES)

    def test_unfitted(self) -> None:
        with pytest.raises(NotFittedError, match="has learned nothing yet"):
            self.make().rank(EXAMPLES[0])

    def test_an_item_that_training_never_saw_and_an_unknown_history(self, fitted: System) -> None:
        rare = min(TRAINING.items, key=lambda i: TRAINING.counts.get(i, 0))
        example = replace(EXAMPLES[0], history=(rare,), candidates=(rare, *EXAMPLES[0].candidates[:5]))
        assert all(math.isfinite(score) for score in fitted.rank(example))

    def test_it_has_a_name(self) -> None:
        assert self.make().name.replace("_", "").isalnum()


def ndcg(system: Any, examples: Sequence[RankingExample]) -> float:
    """Mean NDCG@10."""
    ranks = target_ranks(system.rank_many(examples), [e.candidates.index(e.target) for e in examples])
    return float(metric_values(ranks)["ndcg@10"].mean())


def learns_what_follows_what(system: Any) -> None:
    """Far better than popularity where each item is mostly followed by the next; `system` has a `curve` of losses."""
    popular = Popularity()
    system.fit(TRAINING, 0)
    popular.fit(TRAINING, 0)
    assert ndcg(system, EXAMPLES) > ndcg(popular, EXAMPLES) + 0.3
    assert system.curve[-1].loss < system.curve[0].loss


def keeps_the_best_epoch(system: Any, epochs: int) -> None:
    """`system` of patience 2 stops before `epochs`, two after its best one, whose weights it has."""
    system.fit(TRAINING, 0, EXAMPLES)
    values = [e.validation or 0.0 for e in system.curve]
    assert len(values) < epochs
    assert len(values) - 1 - values.index(max(values)) == 2
    assert ndcg(system, EXAMPLES) == pytest.approx(max(values))


class Fixed:
    """Gives what it was told, and remembers what it was shown."""

    name = "fixed"

    def __init__(self, scores: list[list[float]]) -> None:
        self.scores, self.shown = scores, list[RankingExample]()

    def fit(self, training: TrainingData, seed: int, validation: Any = ()) -> None:
        """Nothing to learn."""

    def rank(self, example: RankingExample) -> list[float]:
        """Of the first."""
        return self.rank_many([example])[0]

    def rank_many(self, examples: Any) -> list[list[float]]:
        """As told."""
        self.shown += examples
        return self.scores


def refuses(scores: list[list[float]], message: str) -> None:
    """`answers` must not take such scores."""
    with pytest.raises(InputError, match=message):
        answers(Fixed(scores), EXAMPLES[:1])
