"""Both protocols: who is asked for what, and that nothing later is learned from."""

from __future__ import annotations

from collections import Counter

import pytest

from webrec.errors import InputError
from webrec.eval.data.dataset import Dataset, Interaction
from webrec.eval.data.splitting import DAY, leave_one_out, time_cut, tuning_cases

from ...worlds import dataset, skewed  # noqa: TID252


def test_leave_one_out() -> None:
    split = leave_one_out(dataset({"u": "abcd", "v": "ab", "w": "cab"}))
    assert split.training.sequences == {"u": ("a", "b"), "v": ("a", "b"), "w": ("c",)}
    assert split.training.counts == {"a": 2, "b": 2, "c": 1}
    told = [(c.user, [t.item_id for t in c.past], c.target.item_id) for c in split.validation]
    assert told == [("u", ["a", "b"], "c"), ("w", ["c"], "a")]
    told = [(c.user, [t.item_id for t in c.past], c.target.item_id) for c in split.test]
    assert told == [("u", ["a", "b", "c"], "d"), ("w", ["c", "a"], "b")]
    assert split.left_out == {"users with fewer than three items": 1}


def test_what_a_copier_would_win_is_left_out_and_counted() -> None:
    split = leave_one_out(dataset({"u": "abca", "v": "abcd", "w": "abce"}, {"d": "THING  A", "e": "Thing E"}))
    assert [c.user for c in split.test] == ["w"]
    assert split.left_out == {
        "test: the target is in the history": 1,
        "test: the target's title is in the history": 1,
    }
    assert [c.user for c in split.validation] == ["u", "v", "w"]


def test_nobody_to_test() -> None:
    split = leave_one_out(dataset({"u": "a", "v": "ab"}))
    assert (split.test, split.left_out) == ((), {"users with fewer than three items": 2})


def test_same_day() -> None:
    noon = DAY * 100 + DAY // 2
    times = {
        "late": (noon, noon, noon + DAY),
        "same": (noon, noon, noon + 60),
        "midnight": (noon, DAY * 101 - 1, DAY * 101),
    }
    users = {name: tuple(Interaction(i, t) for i, t in zip("abc", own, strict=True)) for name, own in times.items()}
    users["unknown"] = tuple(Interaction(i) for i in "abc")
    items = dataset({"u": "abc"}).items
    split = leave_one_out(Dataset("days", users, items))
    assert {c.user: c.same_day for c in split.test} == {"late": False, "same": True, "midnight": False, "unknown": None}


def test_the_time_cut_learns_from_nothing_later() -> None:
    shifted = skewed(users=60, length=10)
    data = Dataset(
        "shifted",
        {
            user: tuple(Interaction(t.item_id, (t.time or 0) + n * DAY // 2) for t in taken)
            for n, (user, taken) in enumerate(shifted.users.items())
        },
        shifted.items,
    )
    split = time_cut(data, 0.1)
    times = sorted(t.time or 0 for taken in data.users.values() for t in taken)
    first, second = times[int(len(times) * 0.8)], times[int(len(times) * 0.9)]
    learned = [
        t.time or 0 for user, sequence in split.training.sequences.items() for t in data.users[user][: len(sequence)]
    ]
    assert max(learned) < first
    assert len(learned) == sum(time < first for time in times)
    for cases, begin, end in ((split.validation, first, second), (split.test, second, times[-1] + 1)):
        assert cases
        for case in cases:
            taken = data.users[case.user]
            assert begin <= (case.target.time or 0) < end
            assert case.past == taken[: len(case.past)]
            assert case.target == taken[len(case.past)]
            assert (case.past[-1].time or 0) < begin  # the first in the period
    for name, cases in (("validation", split.validation), ("test", split.test)):
        told = sum(count for reason, count in split.left_out.items() if reason.startswith(f"{name}:"))
        assert told + len(cases) == len(data.users)


def test_tuning_cases_end_inside_the_training_part() -> None:
    data = skewed(users=30)
    split = leave_one_out(data)
    cases = tuning_cases(data, split.training, 100, 0)
    assert len(cases) == 100
    for case in cases:
        sequence = split.training.sequences[case.user]
        assert tuple(t.item_id for t in case.past) == sequence[: len(case.past)]
        assert case.target.item_id == sequence[len(case.past)]
    by_user = Counter(case.user for case in cases)
    assert max(by_user.values()) - min(by_user.values()) <= 1  # in turn
    assert len({(case.user, len(case.past)) for case in cases}) == 100
    assert tuning_cases(data, split.training, 100, 0) == cases != tuning_cases(data, split.training, 100, 1)
    assert len(tuning_cases(data, split.training, 10_000, 0)) == sum(
        len(s) - 1 for s in split.training.sequences.values()
    )
    copies = dataset({"u": "abacd", "v": "ab"})
    found = tuning_cases(copies, leave_one_out(copies).training, 9, 0)
    assert {(case.user, case.target.item_id) for case in found} == {("u", "b"), ("v", "b")}


def test_wrong_data() -> None:
    timeless = Dataset("old", {"u": tuple(Interaction(i) for i in "abc")}, dataset({"u": "abc"}).items)
    with pytest.raises(InputError, match="protocol: old has interactions without a time; use leave_one_out"):
        time_cut(timeless)
    jumbled = Dataset("j", {"u": tuple(map(Interaction, "abc", (1, 3, 2)))}, dataset({"u": "abc"}).items)
    with pytest.raises(
        InputError, match="protocol: the times of user u in j do not ascend in the order of its positions"
    ):
        time_cut(jumbled)
    with pytest.raises(InputError, match="share: it must be"):
        time_cut(skewed(), 0.5)
