"""Drawing what the target has to be told from: evenly among all items, or among items about as popular."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import zip_longest
from typing import Literal

import numpy as np
import numpy.typing as npt

from webrec.errors import InputError
from webrec.eval.data.dataset import TrainingData
from webrec.eval.data.splitting import Case
from webrec.tools.text_safety import normalised

Sampling = Literal["uniform", "matched", "covered"]
SAMPLINGS: tuple[Sampling, ...] = ("uniform", "matched")


@dataclass
class CandidateSampler:
    """Draws the other candidates of a case: items that the user never took, no two titles alike, none in the history.

    `window`: for `matched`, how many neighbours in training popularity there are to draw from. The target's place among them
    is itself drawn, so that its popularity says nothing; neighbours of equal popularity are in random order. `covered`: items
    that pages tell of; the sampling of that name is `matched` among items of which pages tell as of the target, or do not, as not.
    Each draw depends only on (seed, user, sampling, draw) for the test part; elsewhere on the part and on how much the user had
    taken as well, so that nothing is learned or chosen on the negatives that it is then tested with, or twice on the same
    ones. `redrawn` counts the draws that met a title once more.
    """

    training: TrainingData
    taken: Mapping[str, frozenset[str]]
    """All items that each user took, at any time."""
    candidates: int
    draws: int
    seed: int
    window: int = 100
    covered: frozenset[str] = frozenset()
    part: str = "test"
    redrawn: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._ids = sorted(self.training.items)
        if len(self._ids) < self.candidates:
            raise InputError(
                f"candidates: {self.candidates} are asked for and there are {len(self._ids)} items; lower it, or give more items"
            )
        if self.window < self.candidates:
            raise InputError(f"window: it must be at least candidates ({self.candidates})")
        self._titles = {item_id: normalised(item.title) for item_id, item in self.training.items.items()}
        counts = self.training.counts
        self._by_popularity = sorted(self._ids, key=lambda i: counts.get(i, 0))
        self._popularity = [counts.get(i, 0) for i in self._by_popularity]

    def draw(self, case: Case, sampling: Sampling) -> list[tuple[str, ...]]:
        """`draws` tuples of candidates, each in an order by a hash, so that it says nothing of the target.

        Raises `InputError` where too few items are left for the user.
        """
        own = self._name(case)
        return [
            tuple(sorted(chosen, key=lambda i: _hash(f"{self.seed}\0{own}\0{number}\0{i}")))
            for number, chosen in enumerate(self.sets(case, sampling))
        ]

    def sets(self, case: Case, sampling: Sampling) -> list[list[str]]:
        """The same, the target first in each."""
        neighbours = None if sampling == "uniform" else self._neighbours(case, alike=sampling == "covered")
        own, past, sets = self._name(case), self._past_titles(case), []
        for number in range(self.draws):
            generator = np.random.default_rng(_hash(f"{self.seed}\0{own}\0{sampling}\0{number}"))
            stream = self._uniform(generator) if neighbours is None else neighbours.stream(number, generator)
            sets.append([case.target.item_id, *self._distinct(case, past, sampling, stream)])
        return sets

    def _name(self, case: Case) -> str:
        """What the draws of a case are drawn by; of the test part the user alone, as from the beginning."""
        return case.user if self.part == "test" else f"{case.user}\0{self.part}\0{len(case.past)}"

    def _distinct(self, case: Case, past: set[str], sampling: Sampling, stream: Iterator[str]) -> list[str]:
        """The first of `stream` that may stand beside one another."""
        taken = self.taken[case.user]
        used = past | {self._titles[case.target.item_id]}
        chosen: list[str] = []
        for item_id in stream:
            if item_id in taken:
                continue
            if self._titles[item_id] in used:
                self.redrawn[sampling] += 1
                continue
            used.add(self._titles[item_id])
            chosen.append(item_id)
            if len(chosen) == self.candidates - 1:
                return chosen
        raise InputError(
            f"candidates: {len(chosen) + 1} of {self.candidates} are found for user {case.user}, who took {len(taken)} of "
            f"{len(self._ids)} items; lower candidates, or give more items"
        )

    def _past_titles(self, case: Case) -> set[str]:
        return {self._titles[t.item_id] for t in case.past}

    def _uniform(self, generator: np.random.Generator) -> Iterator[str]:
        seen: set[int] = set()
        while len(seen) < len(self._ids):
            for place in generator.integers(0, len(self._ids), 4 * self.candidates).tolist():
                if place not in seen:
                    seen.add(place)
                    yield self._ids[place]

    def _neighbours(self, case: Case, *, alike: bool) -> _Neighbours:
        """Those who can be drawn: the user's own items must not count, or the window would not lie evenly around the target."""
        taken, titles = self.taken[case.user], self._past_titles(case)
        popularity = self.training.counts.get(case.target.item_id, 0)
        told_of = case.target.item_id in self.covered
        begin, end = bisect_left(self._popularity, popularity), bisect_left(self._popularity, popularity + 1)

        def eligible(places: range, most: int) -> list[tuple[str, int]]:
            found: list[tuple[str, int]] = []
            for place in places:
                item_id = self._by_popularity[place]
                if alike and (item_id in self.covered) != told_of:
                    continue
                if item_id not in taken and self._titles[item_id] not in titles:
                    # Whole levels only: of those equally popular, any may be the nearest.
                    if len(found) >= most and self._popularity[place] != found[-1][1]:
                        break
                    found.append((item_id, self._popularity[place]))
            return found

        shift = np.random.default_rng(_hash(f"{self.seed}\0{self._name(case)}\0offset")).random()
        return _Neighbours(
            equal=[item_id for item_id, _ in eligible(range(begin, end), end - begin)],
            below=_Levels.of(eligible(range(begin - 1, -1, -1), 2 * self.window)),
            above=_Levels.of(eligible(range(end, len(self._ids)), 2 * self.window)),
            shift=float(shift),
            window=self.window,
            draws=self.draws,
        )


@dataclass(frozen=True, slots=True)
class _Neighbours:
    """Items around a target: as popular as it; less popular and more popular, nearest first."""

    equal: list[str]
    below: _Levels
    above: _Levels
    shift: float
    window: int
    draws: int

    def stream(self, number: int, generator: np.random.Generator) -> Iterator[str]:
        """The window of draw `number` in random order, then what lies around it, nearest first.

        The target's place in the window is `shift` (0 to 1), moved on for each draw, so that the draws of a user cover it.
        """
        equal = [self.equal[place] for place in generator.permutation(len(self.equal)).tolist()]
        cut = int(generator.integers(0, len(equal) + 1))
        low = [*equal[:cut], *self.below.shuffled(generator)]
        high = [*equal[cut:], *self.above.shuffled(generator)]
        size = self.window - 1
        below = int(((self.shift + number / self.draws) % 1.0) * self.window)
        below = min(max(below, size - len(high)), len(low))
        inside = [*low[:below], *high[: size - below]]
        yield from (inside[place] for place in generator.permutation(len(inside)).tolist())
        for pair in zip_longest(low[below:], high[size - below :]):
            yield from (item_id for item_id in pair if item_id is not None)


@dataclass(frozen=True, slots=True)
class _Levels:
    """Items one after the other; equally popular ones, of one `level` (items,), lie side by side."""

    items: list[str]
    level: npt.NDArray[np.int64]

    @classmethod
    def of(cls, found: Sequence[tuple[str, int]]) -> _Levels:
        """From items and their popularity."""
        popularity = np.array([count for _, count in found], np.int64)
        return cls([item_id for item_id, _ in found], np.cumsum(np.diff(popularity, prepend=popularity[:1]) != 0))

    def shuffled(self, generator: np.random.Generator) -> list[str]:
        """In this order but for equally popular ones, which are in random order."""
        order = np.lexsort((generator.random(len(self.items)), self.level))
        return [self.items[place] for place in order.tolist()]


def check_matching(
    training: TrainingData,
    cases: Sequence[Case],
    sets: Sequence[Sequence[Sequence[str]]],
    tolerance: float = 0.02,
    window: int | None = None,
) -> dict[str, float]:
    """HR@10 and NDCG@10 of popularity and its inverse on matched sets (cases, draws, candidates), ties in random order.

    `window`: that they were drawn from, where it is known. Raises `InputError` if one of them lies more than `tolerance` from
    chance: the sets would then reward counting alone.
    """
    found = matching(training, cases, sets)
    for name, value in found.items():
        expected = found[f"chance {name.split()[-1]}"]
        if abs(value - expected) > tolerance:
            told, size = f"on the matched candidates {name} is {value:.3f} and chance {expected:.3f}", len(sets[0][0])
            if window is not None and window <= size:  # it cannot be lower
                raise InputError(
                    f"candidates: {told}, with a window of no more than candidates ({size}); lower candidates, or set "
                    "samplings to uniform alone"
                )
            raise InputError(f"window: {told}; lower window, or leave out matched")
    return found


def matching(
    training: TrainingData, cases: Sequence[Case], sets: Sequence[Sequence[Sequence[str]]]
) -> dict[str, float]:
    """The values that `check_matching` judges, expected over random orders of ties."""
    size = len(sets[0][0])
    gains = 1 / np.log2(np.arange(2, size + 2)) * (np.arange(size) < 10)
    hits = (np.arange(size) < 10).astype(float)
    totals = np.zeros((2, 2))
    rows = 0
    for case, draws in zip(cases, sets, strict=True):
        own = training.counts.get(case.target.item_id, 0)
        for candidates in draws:
            counts = np.array([training.counts.get(i, 0) for i in candidates])
            above, below = int((counts > own).sum()), int((counts < own).sum())
            for row, first in enumerate((above, below)):
                last = first + size - above - below  # the target is one of those as popular as it
                totals[row] += hits[first:last].mean(), gains[first:last].mean()
            rows += 1
    means = totals / max(rows, 1)
    return {
        "popularity hr@10": float(means[0, 0]),
        "popularity ndcg@10": float(means[0, 1]),
        "inverse popularity hr@10": float(means[1, 0]),
        "inverse popularity ndcg@10": float(means[1, 1]),
        "chance hr@10": float(hits.mean()),
        "chance ndcg@10": float(gains.mean()),
    }


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
