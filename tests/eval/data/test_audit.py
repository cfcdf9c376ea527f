"""Counts of a data set whose faults are known."""

from __future__ import annotations

import pytest

from webrec.eval.data.audit import audit, coverage
from webrec.eval.data.dataset import RankingExample

from ...worlds import dataset  # noqa: TID252

DAY = 86_400


def test_counts() -> None:
    titles = {"a": "Soap", "b": "SOAP ", "c": "", "d": "Brush"}
    found = audit(dataset({"u": ["a", "d", "b"], "v": ["d", "d"], "w": ["c"]}, titles, step=DAY // 2), 2)
    assert (found.users, found.items, found.interactions) == (3, 4, 6)
    assert (found.untitled_items, found.shared_titles, found.items_of_shared_titles) == (1, 1, 2)
    assert found.repeated == 1
    assert found.short_users == 2
    assert found.target_in_history == 1.0  # of u by its title, of v by the item; w has no history
    assert found.same_day == 0.5  # 01:46 and 13:46 are one day; u's last is the next one
    assert found.described_items == 0
    assert found.core_interactions < found.interactions


def test_no_times() -> None:
    found = audit(dataset({"u": ["a", "b"]}, step=0), 0)
    assert found.same_day == 1.0
    bare = dataset({"u": ["a", "b"]})
    untimed = type(bare)(
        "x", {u: tuple(type(t)(t.item_id) for t in rows) for u, rows in bare.users.items()}, bare.items
    )
    told = audit(untimed, 0)
    assert (told.timed, told.same_day, told.first, told.last) == (False, None, None, None)


def test_coverage() -> None:
    examples = [
        RankingExample("1", "u", 0, (), ("a", "b", "c"), "a"),
        RankingExample("2", "v", 0, (), ("a", "b", "c"), "b"),
    ]
    found = coverage(examples, {"a": 2})
    assert (found.targets, found.negatives) == (0.5, 0.25)
    with pytest.raises(ValueError, match="at least one example"):
        coverage([], {})
