"""Breaking ties of systems that count: an order by hash, so that they get what chance gives among equals."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from itertools import pairwise

from webrec.eval.data.dataset import RankingExample, TrainingData
from webrec.eval.systems.system import System


class TiesByHash:
    """`system`, with equal scores told apart by a hash of seed, example and item; unequal ones keep their order.

    The evaluation counts ties against a system. Of one that gives most candidates the same score that would make much less than it is.
    """

    def __init__(self, system: System) -> None:
        self._system, self._seed = system, 0
        self.name = system.name

    def fit(self, training: TrainingData, seed: int, validation: Sequence[RankingExample] = ()) -> None:
        """As the system, which is told apart by `seed`."""
        self._seed = seed
        self._system.fit(training, seed, validation)

    def rank(self, example: RankingExample) -> list[float]:
        """The system's scores, each moved up by less than half the way to the next one."""
        return self._broken(example, self._system.rank(example))

    def rank_many(self, examples: Sequence[RankingExample]) -> list[list[float]]:
        """`rank` of each."""
        many = self._system.rank_many(examples)
        return [self._broken(example, scores) for example, scores in zip(examples, many, strict=True)]

    def _broken(self, example: RankingExample, scores: list[float]) -> list[float]:
        distinct = sorted(set(scores))
        if len(distinct) == len(scores):
            return scores
        step = min((high - low for low, high in pairwise(distinct)), default=1.0) / 2
        text = f"{self._seed}\0{example.key}\0"
        return [
            score + step * int.from_bytes(blake2b((text + item).encode(), digest_size=4).digest(), "big") / 2**32
            for score, item in zip(scores, example.candidates, strict=True)
        ]
