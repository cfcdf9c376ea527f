"""Systems that only count, and the random one: what every other system has to beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b

from webrec.eval.data.dataset import RankingExample, TrainingData
from webrec.eval.systems.system import NotFittedError, OneByOne


class Random(OneByOne):
    """A number for each candidate by a hash of the seed, the example's key and the item: the same in any order or batch."""

    name = "random"

    def __init__(self) -> None:
        self._seed: int | None = None

    def fit(self, training: TrainingData, seed: int, validation: Sequence[RankingExample] = ()) -> None:
        """Keep `seed`; nothing is learned."""
        self._seed = seed

    def rank(self, example: RankingExample) -> list[float]:
        """Uniform in [0, 1)."""
        if self._seed is None:
            raise NotFittedError(self.name)
        return [self._number(f"{self._seed}\0{example.key}\0{item}") for item in example.candidates]

    @staticmethod
    def _number(text: str) -> float:
        whole = int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
        return (whole >> 11) / 2**53  # as many bits as a float holds, so that 1.0 cannot come out


class Popularity(OneByOne):
    """How often an item was taken in training."""

    name = "popularity"

    def __init__(self) -> None:
        self._counts: Mapping[str, int] | None = None

    def fit(self, training: TrainingData, seed: int, validation: Sequence[RankingExample] = ()) -> None:
        """Keep the counts."""
        self._counts = dict(training.counts)

    def rank(self, example: RankingExample) -> list[float]:
        """The counts, 0 for an item that training never saw."""
        if self._counts is None:
            raise NotFittedError(self.name)
        return [float(self._counts.get(item, 0)) for item in example.candidates]


class IdOrder(OneByOne):
    """The next higher ids first: no recommender, but a check, since sources that list what was taken together by id tell the target so.

    Ids that are all numbers count as numbers.
    """

    name = "id_order"

    def __init__(self) -> None:
        self._places: Mapping[str, int] | None = None

    def fit(self, training: TrainingData, seed: int, validation: Sequence[RankingExample] = ()) -> None:
        """Order the ids."""
        numbers = all(item.isdecimal() for item in training.items)
        ordered = sorted(training.items, key=(lambda item: (int(item), item)) if numbers else None)
        self._places = {item: place for place, item in enumerate(ordered)}

    def rank(self, example: RankingExample) -> list[float]:
        """Minus the distance to the last item's id, for lower ids behind all higher ones."""
        if self._places is None:
            raise NotFittedError(self.name)
        items, last = len(self._places), self._places[example.history[-1]]
        steps = [self._places[item] - last for item in example.candidates]
        return [-float(step if step > 0 else items - step) for step in steps]


class InversePopularity(Popularity):
    """The rarest first: no recommender, but a check, since it scores above chance where negatives are drawn by popularity."""

    name = "inverse_popularity"

    def rank(self, example: RankingExample) -> list[float]:
        """The counts, negated."""
        return [-count for count in super().rank(example)]
