"""Item to item by how often two items stand close together in a sequence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from webrec.errors import ConfigurationError
from webrec.eval.data.dataset import RankingExample, TrainingData
from webrec.eval.systems.system import NotFittedError, OneByOne


class CoOccurrence(OneByOne):
    """Sum over the history of how often history item and candidate were taken within `steps` of each other.

    `popularity_breaks_ties`: among candidates with the same sum the more popular one first, else they stay tied.
    """

    name = "co_occurrence"

    def __init__(self, steps: int = 5, popularity_breaks_ties: bool = True) -> None:
        if steps < 1:
            raise ConfigurationError("steps must be at least 1")
        self.steps = steps
        self.popularity_breaks_ties = popularity_breaks_ties
        self._near: dict[str, Counter[str]] | None = None
        self._popularity: dict[str, float] = {}

    def fit(self, training: TrainingData, seed: int, validation: Sequence[RankingExample] = ()) -> None:
        """Count the pairs; an item beside itself counts as none."""
        near: dict[str, Counter[str]] = {}
        for sequence in training.sequences.values():
            for place, item in enumerate(sequence):
                for other in sequence[place + 1 : place + 1 + self.steps]:
                    if other != item:
                        near.setdefault(item, Counter())[other] += 1
                        near.setdefault(other, Counter())[item] += 1
        self._near = near
        most = max(training.counts.values(), default=0) + 1
        self._popularity = {
            item: count / most for item, count in training.counts.items()
        }  # below 1: less than one pair

    def rank(self, example: RankingExample) -> list[float]:
        """0 for an item that training never saw."""
        if self._near is None:
            raise NotFittedError(self.name)
        rows = [self._near[item] for item in dict.fromkeys(example.history) if item in self._near]
        scores = []
        for item in example.candidates:
            pairs = float(sum(row[item] for row in rows))
            scores.append(pairs + self._popularity.get(item, 0.0) if self.popularity_breaks_ties else pairs)
        return scores
