"""Groups cover all examples, their means are those of their users, and the ranges are told."""

from __future__ import annotations

import numpy as np
import pytest

from webrec.eval.data.dataset import RankingExample
from webrec.eval.evaluation.breakdown import HISTORY_EDGES, breakdown, found_groups, groups_of, label


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, "1-2"), (2, "1-2"), (4, "3-4"), (9, "5-9"), (49, "20-49"), (50, "50 and more"), (900, "50 and more")],
)
def test_ranges(value: int, expected: str) -> None:
    assert label(value, HISTORY_EDGES) == expected


def test_a_range_of_one_number_is_that_number() -> None:
    assert [label(n, (0, 1, 5)) for n in (0, 1, 4, 5)] == ["0", "1-4", "1-4", "5 and more"]


def test_groups() -> None:
    examples = [
        RankingExample("a#0", "a", 0, ("x",), (), "t", same_day=True),
        RankingExample("a#1", "a", 1, ("x",), (), "t", same_day=True),
        RankingExample("b#0", "b", 0, ("x",), (), "s", same_day=None),
    ]
    groups = groups_of(examples, {"a": ["x"] * 12, "b": ["x"]}, {"t": 7})
    groups |= found_groups(examples, {"a#0": True, "a#1": False, "b#0": False})
    assert groups == {
        "items in the history": ["10-19", "10-19", "1-2"],
        "target taken in training": ["5-19", "5-19", "0"],
        "last item and target": ["the same day", "the same day", "unknown"],
        "page about the target": ["found", "not found", "not found"],
    }
    told = breakdown(np.array([[1.0, 3.0], [0.0, 3.0], [0.25, 3.0]]), ["a", "a", "b"], groups)
    assert list(told["items in the history"]) == ["1-2", "10-19"]
    means = {name: (i.mean, i.users) for name, (i, _) in told["items in the history"].items()}
    assert means == {"1-2": (0.25, 1), "10-19": (0.5, 1)}  # a user's draws are one value
    means = {name: (i.mean, i.users) for name, (i, _) in told["page about the target"].items()}
    assert means == {"found": (1.0, 1), "not found": (0.125, 2)}
    assert all(second.mean == 3.0 for named in told.values() for _, second in named.values())
