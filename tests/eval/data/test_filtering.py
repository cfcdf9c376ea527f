"""What is left out, and that it is counted."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webrec.errors import InputError
from webrec.eval.data.filtering import filter_dataset

from ...worlds import dataset  # noqa: TID252

SEQUENCES = st.dictionaries(
    st.sampled_from([f"u{n}" for n in range(12)]),
    st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=8),
    min_size=1,
)


def test_titleless_items_go_and_are_counted() -> None:
    data = dataset({"u": "abc", "v": "b"}, {"b": "", "z": ""})
    kept, removed = filter_dataset(data, 0)
    assert {user: [t.item_id for t in taken] for user, taken in kept.users.items()} == {"u": ["a", "c"]}
    assert set(kept.items) == {"a", "c"}
    assert (removed.untitled_items, removed.untitled_interactions) == (2, 2)
    assert (removed.users, removed.items, removed.interactions) == (1, 2, 2)


def test_removal_goes_on_until_nothing_changes() -> None:
    # Without d, v has too few; without v, c has too few; without c, u is left with two items of two users each.
    data = dataset({"u": "abc", "v": "cd", "w": "ab"})
    kept, removed = filter_dataset(data, 2)
    assert {user: "".join(t.item_id for t in taken) for user, taken in kept.users.items()} == {"u": "ab", "w": "ab"}
    assert removed.rounds > 1


@settings(deadline=None)
@given(SEQUENCES, st.integers(0, 3))
def test_what_is_left_is_a_core_and_nothing_more_was_taken(sequences: dict[str, list[str]], least: int) -> None:
    data = dataset(sequences)
    try:
        kept, removed = filter_dataset(data, least)
    except InputError:
        kept = None
    # The largest core, by removing one at a time.
    rows = [(u, i, place) for u, sequence in sequences.items() for place, i in enumerate(sequence)]
    while True:
        bad_users = {u for u, *_ in rows if sum(r[0] == u for r in rows) < least}
        bad_items = {i for _, i, _ in rows if sum(r[1] == i for r in rows) < least}
        if not bad_users and not bad_items:
            break
        rows = [r for r in rows if r[0] not in bad_users and r[1] not in bad_items]
    if kept is None:
        assert not rows
        return
    assert [(u, t.item_id) for u, taken in kept.users.items() for t in taken] == [(u, i) for u, i, _ in rows]
    assert removed.interactions == data.interactions() - len(rows)


def test_nothing_left() -> None:
    with pytest.raises(InputError, match=r"nobody in small is left when users and items need 5; lower it$"):
        filter_dataset(dataset({"u": "abc"}), 5)
    told = "need 5 and 1 of 3 items have no title; lower it, or add titles$"
    with pytest.raises(InputError, match=f"min_interactions: nobody in small is left when users and items {told}"):
        filter_dataset(dataset({"u": "abc"}, {"b": ""}), 5)


@pytest.mark.parametrize(("titles", "without"), [({"a": "", "b": ""}, 2), ({"a": "", "b": "", "c": "C"}, 2)])
def test_no_titles(titles: dict[str, str], without: int) -> None:
    message = (
        f"title: {without} of {len(titles)} items of small have none, .* \\(in items.jsonl the field is called title"
    )
    with pytest.raises(InputError, match=message):
        filter_dataset(dataset({"u": "ab", "v": "a"}, titles), 0)
