"""Intervals and tests against scipy, readable references, and what they promise."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from webrec.errors import InputError
from webrec.eval.metrics import statistics
from webrec.eval.metrics.statistics import (
    compare,
    detectable_of_many,
    holm,
    interval,
    paired_test,
    seed_spread,
    smallest_detectable,
    told_p,
    user_means,
)


def sample(seed: int, users: int = 200) -> np.ndarray:
    return np.random.default_rng(seed).random(users)


def test_the_interval_is_scipys() -> None:
    stats = pytest.importorskip("scipy.stats")
    values = sample(1)
    found = interval(values)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(5))
    assert found.mean == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.003)
    assert found.users == 200
    assert interval(values) == found
    assert interval(values, seed=1) != found


def test_many_columns_at_once_are_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    table = np.stack([sample(1), sample(2) ** 2, np.zeros(200)], axis=1)
    found = statistics.intervals(table, seed=4)
    assert found == [
        statistics.Interval(pytest.approx(i.mean), pytest.approx(i.low), pytest.approx(i.high), 200)  # type: ignore[arg-type]
        for i in (interval(column, seed=4) for column in table.T)
    ]
    monkeypatch.setattr(statistics, "_CHUNK", 200 * 3)
    assert statistics.intervals(table)[0].low == pytest.approx(found[0].low, abs=0.003)


def test_users_who_are_alike_leave_no_doubt() -> None:
    assert interval([0.5] * 30) == statistics.Interval(0.5, 0.5, 0.5, 30)


def test_seeds_widen_the_interval() -> None:
    users = sample(2, 400)
    shifted = np.stack([users - 0.2, users, users + 0.2])
    within, across = interval(users), interval(shifted)
    assert across.mean == pytest.approx(within.mean)
    assert across.high - across.low > 2 * (within.high - within.low)
    assert seed_spread(shifted) == pytest.approx(0.2)


def test_columns_over_seeds_are_drawn_as_by_hand() -> None:
    values = np.stack([sample(2, 60) + shift for shift in (-0.2, 0.1, 0.3)])
    generator, means = np.random.default_rng(0), []
    for _ in range(20_000):
        seeds, users = generator.integers(0, 3, 3), generator.integers(0, 60, 60)
        means.append(values[np.ix_(seeds, users)].mean())
    low, high = np.quantile(means, [0.025, 0.975])
    (column,) = statistics.intervals(values[:, :, None])
    for found in (interval(values), column):
        assert found.mean == pytest.approx(values.mean())
        assert (found.low, found.high) == pytest.approx((low, high), abs=0.01)
    assert statistics.intervals(values[:1, :, None]) == statistics.intervals(values[0][:, None])


def test_memory_is_bounded_and_chunks_change_only_the_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    values = sample(3, 300)
    whole = interval(values)
    monkeypatch.setattr(statistics, "_CHUNK", 300 * 7)
    parts = interval(values)
    assert (parts.low, parts.high) == pytest.approx((whole.low, whole.high), abs=0.003)


def test_all_flips_of_a_few_users() -> None:
    ours, other = np.array([0.9, 0.5, 0.7, 0.6, 0.5]), np.array([0.1, 0.6, 0.2, 0.3, 0.5])
    differences = ours - other
    sums = [abs(np.dot(signs, differences)) for signs in product((1, -1), repeat=5)]
    expected = np.mean([s >= abs(differences.sum()) - 1e-9 for s in sums])
    assert paired_test(ours, other) == pytest.approx(expected)
    assert paired_test(other, ours) == pytest.approx(expected)


@pytest.mark.parametrize("shift", [0.0, 0.02, 0.05])
def test_p_is_scipys(shift: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    ours, other = sample(4) + shift, sample(4) * 0.5 + sample(5) * 0.5
    theirs = stats.permutation_test(
        (ours, other),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=10_000,
        rng=np.random.default_rng(6),
    )
    assert paired_test(ours, other) == pytest.approx(theirs.pvalue, abs=0.015)


def test_p_is_never_zero_and_one_without_a_difference() -> None:
    ours = sample(6)
    assert paired_test(ours + 1, ours) == pytest.approx(1 / 10_001)
    assert paired_test(ours, ours) == 1.0


def test_false_positives_are_as_rare_as_promised() -> None:
    generator = np.random.default_rng(7)
    found = [paired_test(generator.random(12), generator.random(12)) < 0.05 for _ in range(400)]
    assert 0.02 <= np.mean(found) <= 0.085  # 0.05, within three standard errors


def test_a_comparison_holds_together() -> None:
    ours, other = sample(8) + 0.1, sample(8)
    found = compare(ours, other)
    assert found.difference.mean == pytest.approx(0.1)
    assert found.p < 0.001
    assert found.gain is not None
    assert found.gain.mean == pytest.approx(ours.mean() / other.mean() - 1)
    assert found.gain.low <= found.gain.mean <= found.gain.high
    assert compare(ours, np.zeros(200)).gain is None


def trainings(generator: np.random.Generator, seeds: int, users: np.ndarray, shift: float = 0.0) -> np.ndarray:
    """(seeds, users) of a system whose trainings lie apart by .03, and whose users differ from training to training."""
    noise = generator.normal(0, 0.03, (seeds, 1)) + generator.normal(0, 0.1, (seeds, users.size))
    return np.asarray(users + shift + noise)


def test_over_trainings_p_and_interval_are_wrong_no_more_often_than_promised() -> None:
    generator = np.random.default_rng(13)
    over_users, small, outside = [], [], []
    for _ in range(300):
        users = generator.random(300)
        one, two = trainings(generator, 3, users), trainings(generator, 3, users)
        over_users.append(paired_test(one.mean(0), two.mean(0)) < 0.05)
        found = compare(one, two)
        small.append(found.p < 0.05)
        outside.append(not found.difference.low <= 0 <= found.difference.high)
    assert np.mean(over_users) > 0.3  # flips over users take another training for another system
    assert np.mean(small) <= 0.085
    assert small == outside


def test_p_over_trainings_is_welchs() -> None:
    stats = pytest.importorskip("scipy.stats")
    users = np.linspace(0, 1, 50)  # no user differs, so that trainings are all that there is
    one, two = (np.stack([users + s for s in shifts]) for shifts in ((0.1, 0.2, 0.3), (0.0, 0.1, 0.1, 0.0)))
    found = compare(one, two)
    theirs = stats.ttest_ind(one.mean(1), two.mean(1), equal_var=False)
    assert (found.p, found.freedom) == pytest.approx((theirs.pvalue, theirs.df))
    ends = theirs.confidence_interval()
    assert (found.difference.mean, found.difference.low, found.difference.high) == pytest.approx(
        (0.15, ends.low, ends.high)
    )
    assert found.gain is not None
    assert found.gain.low == pytest.approx(ends.low / two.mean())
    again = compare(users, np.stack([users, users]))
    assert (again.p, again.difference.mean) == (1.0, 0.0)
    assert np.isnan(again.detectable)
    assert compare([[0.7], [0.7]], [0.5]).p == 1.0  # nothing varies: nothing is known


def test_what_could_be_seen_over_trainings_is_found_four_times_in_five() -> None:
    generator = np.random.default_rng(15)
    users = generator.random(300)
    # What it says itself varies with three trainings: its mean over many comparisons is taken.
    step = np.mean(
        [compare(trainings(generator, 3, users), trainings(generator, 3, users)).detectable for _ in range(100)]
    )
    found = [
        compare(trainings(generator, 3, users, float(step)), trainings(generator, 3, users)).p < 0.05
        for _ in range(200)
    ]
    assert 0.7 <= np.mean(found) <= 0.97
    one = compare(trainings(generator, 3, users), trainings(generator, 3, users))
    assert detectable_of_many(one.detectable, 4, one.freedom) > detectable_of_many(one.detectable, 4) > one.detectable


def test_a_difference_over_trainings_is_found_when_it_is_large() -> None:
    generator = np.random.default_rng(14)
    users = generator.random(300)
    found = compare(trainings(generator, 3, users, 0.3), trainings(generator, 3, users))
    assert found.p < 0.02
    assert found.difference.low > 0
    alone = compare(trainings(generator, 1, users, 0.3)[0], trainings(generator, 1, users)[0])
    assert found.detectable > alone.detectable / 2


def test_the_smallest_detectable_difference_is_found_four_times_in_five() -> None:
    generator = np.random.default_rng(9)
    users, spread = 60, 0.3
    step = smallest_detectable(generator.normal(0, spread, 100_000)) * np.sqrt(100_000 / users)
    found = [paired_test(generator.normal(step, spread, users), np.zeros(users)) < 0.05 for _ in range(60)]
    assert 0.64 <= np.mean(found) <= 0.95  # 0.8, within three standard errors
    assert np.isnan(smallest_detectable([1.0]))
    values = generator.normal(0, 1, 50)
    once = smallest_detectable(values)
    assert detectable_of_many(once, 4) == pytest.approx(smallest_detectable(values, alpha=0.05 / 4))
    assert detectable_of_many(once, 1) == once


def test_holm() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}


def test_a_users_draws_are_one_value() -> None:
    assert user_means({"a": [1.0, 0.0], "b": [0.5]}) == {"a": 0.5, "b": 0.5}


def test_wrong_input_is_named() -> None:
    for call in (
        lambda: interval([]),
        lambda: statistics.intervals([1.0]),
        lambda: compare([1.0, 2.0], [[1.0], [2.0]]),
        lambda: seed_spread([1.0, 2.0]),
        lambda: paired_test([1.0], [1.0, 2.0]),
        lambda: paired_test([], []),
    ):
        with pytest.raises(InputError):
            call()


@pytest.mark.slow
def test_the_interval_holds_the_truth_as_often_as_promised() -> None:
    generator = np.random.default_rng(11)
    held = 0
    for _ in range(300):
        found = interval(generator.exponential(1.0, 150))
        held += found.low <= 1.0 <= found.high
    assert 0.90 <= held / 300 <= 0.98


@pytest.mark.parametrize(("p", "told"), [(1.0, "1.0000"), (0.0123, "0.0123"), (0.00005, "0.0001"), (1e-12, "<0.0001")])
def test_no_p_value_is_said_to_be_0(p: float, told: str) -> None:
    assert told_p(p) == told
