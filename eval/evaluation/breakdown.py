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
    examples: Sequence[RankingExample], past: Mapping[str, Sequence[str]], counts: Mapping[str, int]
) -> dict[str, list[str]]:
    """The group of each example, by kind of group.

    `past`: everything each user took before. `counts`: how often each item was taken in training.
    """
    days = {True: "the same day", False: "another day", None: "unknown"}
    return {
        "items in the history": [label(len(past[e.user]), HISTORY_EDGES) for e in examples],
        "target taken in training": [label(counts.get(e.target, 0), POPULARITY_EDGES) for e in examples],
        "last item and target": [days[e.same_day] for e in examples],
    }


def found_groups(examples: Sequence[RankingExample], target_found: Mapping[str, bool]) -> dict[str, list[str]]:
    """Whether a page about the target was found, which `target_found` says by example key, as a kind of group."""
    return {"page about the target": ["found" if target_found[e.key] else "not found" for e in examples]}


def breakdown(
    values: npt.NDArray[np.float64], users: Sequence[str], groups: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, list[Interval]]]:
    """Mean and interval of each column of `values` (examples, columns) in each group; a user's examples in a group are averaged first."""
    told: dict[str, dict[str, list[Interval]]] = {}
    _, of_user = np.unique(np.asarray(users), return_inverse=True)
    for kind, labels in groups.items():
        names = np.asarray(labels)
        told[kind] = {}
        for name in sorted(set(labels), key=_order):
            _, place, counts = np.unique(of_user[names == name], return_inverse=True, return_counts=True)
            sums = np.zeros((len(counts), values.shape[1]))
            np.add.at(sums, place, values[names == name])
            told[kind][name] = intervals(sums / counts[:, None])
    return told


def _order(name: str) -> tuple[int, str]:
    """Ranges by their first number, everything else by name."""
    first = name.replace("-", " ").split()[0]
    return (int(first), "") if first.isdigit() else (-1, name)
