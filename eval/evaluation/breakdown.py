"""Where a system is good: its primary metric by length of the history, popularity of the target, and what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from webrec.eval.data.dataset import RankingExample
from webrec.eval.metrics.statistics import Interval, intervals

HISTORY_EDGES = (1, 3, 5, 10, 20, 50)
POPULARITY_EDGES = (0, 1, 5, 20, 100)


def label(value: int, edges: Sequence[int]) -> str:
    """The range of `edges` that holds `value`: `5-9`, or `50 and more` from the last edge on."""
    place = max(n for n, edge in enumerate(edges) if value >= edge)
    if place + 1 == len(edges):
        return f"{edges[place]} and more"
    last = edges[place + 1] - 1
    return str(last) if last == edges[place] else f"{edges[place]}-{last}"


def groups_of(
    examples: Sequence[RankingExample],
    past: Mapping[str, Sequence[str]],
    counts: Mapping[str, int],
    target_found: Mapping[str, bool] | None = None,
) -> dict[str, list[str]]:
    """The group of each example, by kind of group.

    `past`: everything each user took before. `counts`: how often each item was taken in training. `target_found`: by example key,
    whether a page about the target was found.
    """
    days = {True: "the same day", False: "another day", None: "unknown"}
    groups = {
        "items in the history": [label(len(past[e.user]), HISTORY_EDGES) for e in examples],
        "target taken in training": [label(counts.get(e.target, 0), POPULARITY_EDGES) for e in examples],
        "last item and target": [days[e.same_day] for e in examples],
    }
    if target_found is not None:
        groups["page about the target"] = ["found" if target_found[e.key] else "not found" for e in examples]
    return groups


def breakdown(
    values: npt.NDArray[np.float64], users: Sequence[str], groups: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, Interval]]:
    """Mean and interval of `values` (examples,) in each group; a user's examples in a group are averaged first."""
    told: dict[str, dict[str, Interval]] = {}
    for kind, labels in groups.items():
        by_group: dict[str, dict[str, list[float]]] = {}
        for value, user, name in zip(values.tolist(), users, labels, strict=True):
            by_group.setdefault(name, {}).setdefault(user, []).append(value)
        told[kind] = {
            name: intervals(np.array([[float(np.mean(own))] for own in by_user.values()]))[0]
            for name, by_user in sorted(by_group.items(), key=lambda item: _order(item[0]))
        }
    return told


def _order(name: str) -> tuple[int, str]:
    """Ranges by their first number, everything else by name."""
    first = name.replace("-", " ").split()[0]
    return (int(first), "") if first.isdigit() else (-1, name)
