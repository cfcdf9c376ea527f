"""Rank changes between two entries about the same user and the same candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from webrec.nodes.schema import Recommendation


@dataclass(frozen=True)
class Change:
    """A candidate's rank in the other entry, and how many places higher it is here (negative: lower)."""

    other: int
    places: int


@dataclass(frozen=True)
class Comparison:
    """Another entry (by its place) and, for each title, what changed against it."""

    entry: int
    changes: dict[str, Change]


def comparisons(users: Sequence[tuple[tuple[str, ...], Recommendation]]) -> list[Comparison | None]:
    """For each (history, recommendation) what it is compared with.

    That is the first with the same history and candidates; the first itself is compared with the second. None where
    there is no other, or where titles are not distinct.
    """
    alike: dict[tuple[tuple[str, ...], tuple[str, ...]], list[int]] = {}
    for place, (history, recommendation) in enumerate(users):
        titles = tuple(sorted(c.title for c in recommendation.ranking))
        if len(set(titles)) == len(titles):
            alike.setdefault((history, titles), []).append(place)
    found: list[Comparison | None] = [None] * len(users)
    for places in alike.values():
        for place in places if len(places) > 1 else []:
            other = places[1] if place == places[0] else places[0]
            found[place] = Comparison(other, _changes(users[place][1], users[other][1]))
    return found


def _changes(here: Recommendation, there: Recommendation) -> dict[str, Change]:
    ranks = {c.title: c.rank for c in there.ranking}
    return {c.title: Change(ranks[c.title], ranks[c.title] - c.rank) for c in here.ranking}
