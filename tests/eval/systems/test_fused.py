"""Fused systems: the contract, what their weights are fitted on, inputs and their placebo."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from webrec.errors import ConfigurationError
from webrec.eval.data.dataset import RankingExample
from webrec.eval.metrics.ranking import metric_values, target_ranks
from webrec.eval.systems.co_occurrence import CoOccurrence
from webrec.eval.systems.fused import WEIGHTS, Fused
from webrec.tools.crowd.choice import with_ranks
from webrec.tools.crowd.pairs import Floats

from .contract import EXAMPLES, TRAINING, SystemContract, chain

_, OTHERS = chain(seed=9)
FITTING = [replace(e, part="validation", user=f"v{n}", key=f"v{n}#0") for n, e in enumerate(OTHERS)]


class Told:
    """Scores of two systems: the oracle knows the target of every example, the other one of none."""

    def __init__(self, examples: Sequence[RankingExample]) -> None:
        self.targets = {(e.part, e.key): e.target for e in examples}

    def of(self, system: str, example: RankingExample) -> list[float]:
        """1 for the target."""
        if system != "oracle":
            return np.random.default_rng(len(example.key)).random(len(example.candidates)).tolist()
        return [float(item == self.targets[example.part, example.key]) for item in example.candidates]


def ndcg(system: Fused | CoOccurrence) -> float:
    ranks = target_ranks(system.rank_many(EXAMPLES), [e.candidates.index(e.target) for e in EXAMPLES])
    return float(metric_values(ranks)["ndcg@10"].mean())


def fused(**settings: object) -> Fused:
    system = Fused(FITTING, **{"penalty": 1.0, **settings})  # type: ignore[arg-type]
    system.fit(TRAINING, 0)
    return system


class TestFused(SystemContract):
    make = staticmethod(lambda: Fused(FITTING, penalty=1.0))


def test_together_at_least_as_good_as_one() -> None:
    one = CoOccurrence()
    one.fit(TRAINING, 0)
    assert ndcg(fused()) > ndcg(one) + 0.02


def test_an_input_that_knows_is_believed_and_its_placebo_is_not() -> None:
    scores = Told([*EXAMPLES, *FITTING])
    assert ndcg(fused(evidence=(), inputs=("oracle",), scores=scores)) == 1
    assert ndcg(fused(inputs=("oracle",), scores=scores)) > 0.99
    assert ndcg(fused(evidence=(), inputs=("nobody",), scores=scores)) < 0.5


def test_of_validation_examples_the_other_half_of_the_users_tells() -> None:
    """Who is scored did not fit the weights: a changed target of theirs changes their score in nothing."""
    mine = FITTING[0]
    wrong = replace(mine, target=next(i for i in mine.candidates if i != mine.target))
    before, after = fused(), Fused([wrong, *FITTING[1:]], penalty=1.0)
    after.fit(TRAINING, 0)
    assert after.rank(mine) == before.rank(mine)
    assert after.rank(EXAMPLES[0]) != before.rank(EXAMPLES[0])


def test_validation_examples_given_to_fit_change_nothing() -> None:
    system = fused()
    before = system.rank_many(EXAMPLES[:5])
    system.fit(TRAINING, 0, FITTING[:3])
    assert system.rank_many(EXAMPLES[:5]) == before


def test_weights_are_written(tmp_path: Path) -> None:
    system = fused(folder=tmp_path)
    told = json.loads((tmp_path / WEIGHTS).read_text())
    assert list(told["uniform"]) == list(system.names)
    assert all(set(one) == {"weight", "scale"} for one in told["uniform"].values())
    few = fused(evidence=("counts",))
    assert "title_mean" not in few.names
    assert "near_3" in few.names


@pytest.mark.parametrize(
    ("scores", "ranks"),
    [([3, 1, 2], [1, 0, 0.5]), ([1, 1, 2], [0.25, 0.25, 1]), ([5, 5, 5], [0.5, 0.5, 0.5]), ([1], [0])],
)
def test_ranks_within_an_example(scores: list[float], ranks: list[float]) -> None:
    given: Floats = np.array(scores, float)
    assert with_ranks(given)[1].tolist() == ranks


def test_wrong_settings() -> None:
    with pytest.raises(ConfigurationError, match="a fused system needs some"):
        Fused(FITTING, evidence=())
    with pytest.raises(ConfigurationError, match="there are no scores of other systems here"):
        Fused(FITTING, inputs=("x",))
    with pytest.raises(ConfigurationError, match="fitted on validation examples; there are none"):
        Fused([])
    with pytest.raises(ConfigurationError, match="matched had no validation examples"):
        fused().rank(replace(EXAMPLES[0], sampling="matched"))
