"""The order of what was taken at the same time says nothing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webrec.eval.data.build import frozen_examples
from webrec.eval.data.config import DataConfig
from webrec.eval.data.dataset import Dataset, Interaction, Item
from webrec.eval.data.same_time import shuffle_same_time

times = st.none() | st.integers(0, 3)
users = st.dictionaries(st.sampled_from("abc"), st.lists(st.tuples(st.sampled_from("wxyz"), times), max_size=8))


def dataset(taken: dict[str, list[tuple[str, int | None]]]) -> Dataset:
    items = {item: Item(item, item) for own in taken.values() for item, _ in own}
    return Dataset("d", {user: tuple(Interaction(i, t) for i, t in own) for user, own in taken.items()}, items)


@given(users, st.integers(0, 3))
def test_only_what_was_taken_at_one_time_changes_places(
    taken: dict[str, list[tuple[str, int | None]]], seed: int
) -> None:
    before = dataset(taken)
    after, moved = shuffle_same_time(before, seed)
    tied = 0
    for user, own in before.users.items():
        new = after.users[user]
        assert [i.time for i in new] == [i.time for i in own]
        start = 0
        while start < len(own):
            end = start + 1
            while end < len(own) and own[end].time == own[start].time:
                end += 1
            assert Counter(new[start:end]) == Counter(own[start:end])
            if own[start].time is None:
                assert new[start:end] == own[start:end]
            elif end - start > 1:
                tied += end - start
            start = end
    assert moved == tied
    assert shuffle_same_time(before, seed) == (after, moved)


def test_a_user_s_order_hangs_on_nothing_of_others() -> None:
    own: list[tuple[str, int | None]] = [(item, 1) for item in "wxyz"]
    alone, _ = shuffle_same_time(dataset({"a": own}), 0)
    among, _ = shuffle_same_time(dataset({"b": own, "a": own, "c": own[:2]}), 0)
    assert alone.users["a"] == among.users["a"]
    orders = {
        tuple(i.item_id for i in shuffle_same_time(dataset({f"{n}": own}), 0)[0].users[f"{n}"]) for n in range(300)
    }
    assert len(orders) == 24, "every order occurs"


@pytest.mark.parametrize(("settings", "highest"), [({}, 0.6), ({"same_time": "as_listed"}, 1.0)])
def test_the_target_is_the_highest_id_no_longer(tmp_path: Path, settings: dict[str, Any], highest: float) -> None:
    """Forty users who took five things at one time each, listed by id."""
    rows = [(f"u{n}", f"{i:03}") for n in range(40) for i in sorted({(7 * n + 11 * k) % 60 for k in range(5)})]
    (tmp_path / "interactions.csv").write_text("user_id,item_id,timestamp\n" + "".join(f"{u},{i},5\n" for u, i in rows))
    (tmp_path / "items.jsonl").write_text(
        "".join(f'{{"item_id": "{i:03}", "title": "thing {i}"}}\n' for i in range(60))
    )
    config = DataConfig(path=tmp_path, min_interactions=0, samplings=("uniform",), **settings)
    frozen = frozen_examples(config, tmp_path / "frozen")
    examples = frozen.examples("test", "uniform")
    share = sum(e.target > max(e.history) for e in examples) / len(examples)
    assert frozen.manifest["shuffled_for_equal_times"] == (0 if settings else 200)
    assert share == 1 if settings else share < highest
