"""What a crowd took, with items as numbers: the one form that all counting reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class ItemFacts:
    """What is known of an item beside who took it."""

    title: str = ""
    brand: str | None = None
    categories: tuple[str, ...] = ()
    year: int | None = None


@dataclass(frozen=True)
class Records:
    """Sequences of items, oldest first. `facts`: of every item that may be asked for; items that nobody took are among them.

    `times`: Unix seconds of each step, in the shape of `sequences`; empty where they are unknown, and then never used.
    """

    facts: Mapping[str, ItemFacts]
    sequences: Sequence[Sequence[str]]
    times: Sequence[Sequence[int]] = ()
    numbers: Mapping[str, int] = field(init=False)
    """The place of each item in the sorted ids."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "numbers", {item: number for number, item in enumerate(sorted(self.facts))})

    @property
    def count(self) -> int:
        """How many items there are."""
        return len(self.facts)

    def coded(self) -> list[npt.NDArray[np.int64]]:
        """The sequences as numbers; items without facts are left out."""
        return [self.of(sequence) for sequence in self.sequences]

    def of(self, items: Iterable[str]) -> npt.NDArray[np.int64]:
        """The numbers of those that are known."""
        return np.array([self.numbers[item] for item in items if item in self.numbers], np.int64)

    def taken(self) -> npt.NDArray[np.int64]:
        """How often each item was taken."""
        steps = [sequence for sequence in self.coded() if len(sequence)]
        return np.bincount(np.concatenate(steps) if steps else np.zeros(0, np.int64), minlength=self.count)
