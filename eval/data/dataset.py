"""What a data set is to the rest of the code, whatever it was read from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Item:
    """Something that users take. `text`: the data set's own description, with HTML removed; None where there is none."""

    item_id: str
    title: str
    text: str | None = None
    categories: tuple[str, ...] = ()
    year: int | None = None
    brand: str | None = None


@dataclass(frozen=True, slots=True)
class Interaction:
    """One thing a user took. `time`: Unix seconds, None where the source has only the order."""

    item_id: str
    time: int | None = None
    rating: float | None = None


@dataclass(frozen=True, slots=True)
class Dataset:
    """Users' interactions, oldest first, and the items they are with."""

    name: str
    users: Mapping[str, tuple[Interaction, ...]]
    items: Mapping[str, Item]

    def interactions(self) -> int:
        """How many there are in all."""
        return sum(len(taken) for taken in self.users.values())


@dataclass(frozen=True, slots=True)
class RankingExample:
    """One user at one moment: 20 candidates, exactly one of which (`target`) the user took next.

    `history`: ids of the last items before it, oldest first. `candidates`: ids in an order that says nothing of the target.
    `time`: of the target, Unix seconds, None where unknown. `same_day`: whether the last item of the history was taken on the
    target's day, so that their order may mean nothing; None where times are unknown. `key` is unique within `part` (tuning,
    validation or test) and `sampling`.
    """

    key: str
    user: str
    draw: int
    history: tuple[str, ...]
    candidates: tuple[str, ...]
    target: str
    time: int | None = None
    same_day: bool | None = None
    part: str = "test"
    sampling: str = "uniform"


@dataclass(frozen=True, slots=True)
class TrainingData:
    """All that a system may learn from: items, and each user's items before the validation item, oldest first."""

    items: Mapping[str, Item]
    sequences: Mapping[str, tuple[str, ...]]
    counts: Mapping[str, int] = field(default_factory=dict)
    """How often each item occurs in `sequences`; absent ones never."""
    times: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Unix seconds of each step of `sequences`; empty where the source has only the order."""
