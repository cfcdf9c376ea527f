"""Intervals, tests and gains over users. Everything is a function of its arguments and a seed.

The unit is the user: what a user's draws gave is averaged first. Where a system was trained with several seeds, users and
trainings are both drawn anew: other users and another training would give another mean. See docs/evaluate.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from webrec.errors import InputError

Floats = npt.NDArray[np.float64]
RESAMPLES = 10_000
LEVEL = 0.95
_EXACT = 13
"""Up to so many users all sign flips are enumerated."""
_CHUNK = 2**24
"""Numbers drawn at a time: bounds memory at some hundred MB."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its 95 % bootstrap interval over `users`, and over trainings where there were several."""

    mean: float
    low: float
    high: float
    users: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """One system against another on the same users: mean difference with its interval, the test's p, relative gain.

    `gain`: ratio of means less 1, with its interval; None where the other's mean is 0. `detectable`: the smallest
    difference that the test would find four times in five. `freedom`: of the t-test, None for the permutation test.
    """

    difference: Interval
    p: float
    gain: Interval | None
    detectable: float
    freedom: float | None = None


def user_means(values: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The mean of each user's values, by user."""
    return {user: float(np.mean(own)) for user, own in values.items()}


def interval(values: npt.ArrayLike, seed: int = 0) -> Interval:
    """Percentile bootstrap over users of `values` (users,), or over users and training seeds of (seeds, users).

    With seeds, each resample draws seeds and users, both with replacement. Raises `InputError` without any user.
    """
    table = np.atleast_2d(np.asarray(values, np.float64))
    if table.ndim != 2 or table.size == 0:
        raise InputError("values must be (users,) or (seeds, users), with at least one user")
    if len(table) > 1:
        return intervals(table[:, :, None], seed)[0]
    (means,) = _bootstrap(table.shape[1], seed, lambda places: table[:, places].mean(-1))
    return Interval(float(table.mean()), *_ends(means), table.shape[1])


def intervals(values: npt.ArrayLike, seed: int = 0) -> list[Interval]:
    """The interval of each column of (users, columns), all from the same resamples of users: quick for many columns.

    Of (seeds, users, columns) each resample draws seeds and users, both with replacement.
    """
    table = np.asarray(values, np.float64)
    table = table[None] if table.ndim == 2 else table
    if table.ndim != 3 or table.size == 0:
        raise InputError("values must be (users, columns) or (seeds, users, columns), with at least one user")
    seeds, users, _ = table.shape
    generator, parts = np.random.default_rng(seed), []
    drawn_seeds = np.random.default_rng([seed, seeds])
    rows = max(1, _CHUNK // users)
    for done in range(0, RESAMPLES, rows):
        places = generator.integers(0, users, (min(rows, RESAMPLES - done), users))
        # How often each user was drawn, times the values: one matrix product instead of a gather for each column.
        times = np.stack([np.bincount(row, minlength=users) for row in places]).astype(np.float64)
        shares = _shares(seeds, len(places), drawn_seeds)
        parts.append(np.einsum("rs,src->rc", shares, np.stack([times @ one / users for one in table])))
    ends = [_ends(column) for column in np.concatenate(parts).T]
    means = table.mean((0, 1))
    return [Interval(float(mean), low, high, users) for mean, (low, high) in zip(means, ends, strict=True)]


def seed_spread(values: npt.ArrayLike) -> float:
    """Standard deviation of the mean from one training seed to another; `values`: (seeds, users), at least two seeds."""
    table = np.asarray(values, np.float64)
    if table.ndim != 2 or table.shape[0] < 2:
        raise InputError("values must be (seeds, users) with at least two seeds")
    return float(table.mean(1).std(ddof=1))


def paired_test(system: npt.ArrayLike, other: npt.ArrayLike, seed: int = 0) -> float:
    """Two-sided p of the paired sign-flip permutation test on the mean difference, over users (users,).

    10,000 random flips, p = (1 + as extreme) / (1 + 10,000); all flips where there are at most 13 users that differ.
    """
    differences = _differences(system, other)
    differences = differences[differences != 0]  # a flip changes nothing there
    users = len(differences)
    if users == 0:
        return 1.0
    observed = abs(differences.sum()) * (1 - 1e-12)  # a flip that gives the same sum must count, rounding or not
    if users <= _EXACT:
        signs = 1.0 - 2.0 * ((np.arange(2**users)[:, None] >> np.arange(users)) & 1)
        return float((np.abs(signs @ differences) >= observed).mean())
    generator, extreme, done = np.random.default_rng(seed), 0, 0
    while done < RESAMPLES:
        rows = min(RESAMPLES - done, max(1, _CHUNK // users))
        signs = generator.integers(0, 2, (rows, users), dtype=np.int8).astype(np.float32) * 2 - 1
        extreme += int((np.abs(signs @ differences) >= observed).sum())
        done += rows
    return (1 + extreme) / (1 + RESAMPLES)


def compare(system: npt.ArrayLike, other: npt.ArrayLike, seed: int = 0) -> Comparison:
    """`system` against `other`, each (users,) or (seeds, users), the same users in the same order.

    Flips over users know nothing of what another training would give, and a bootstrap of three trainings is too narrow. So with
    several seeds of one of them interval, p and `detectable` are those of Welch's t-test with the variance over users and over
    the trainings of each, degrees of freedom by Satterthwaite; the gain's interval is the difference's over the other's mean.
    """
    tables = [np.atleast_2d(np.asarray(values, np.float64)) for values in (system, other)]
    one, two = (table.mean(0) for table in tables)
    differences = _differences(one, two)
    users, base = differences.size, float(two.mean())
    if max(map(len, tables)) > 1:
        return _over_trainings(differences, tables, base)
    gain = None
    if base > 0:
        pair = np.stack([one, two])
        drawn = _bootstrap(users, seed, lambda places: pair[:, places].mean(-1))
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = drawn[0] / drawn[1] - 1
        gain = Interval(float(one.mean()) / base - 1, *_ends(ratios[np.isfinite(ratios)]), users)
    difference = interval(differences, seed)
    return Comparison(difference, paired_test(one, two, seed), gain, smallest_detectable(differences))


def _over_trainings(differences: Floats, tables: Sequence[Floats], base: float) -> Comparison:
    """Welch's t-test of the mean difference over users and trainings; `base`: the other's mean."""
    from scipy.stats import t  # with the extra "eval"

    mean, users = float(differences.mean()), differences.size
    parts = [(differences.var(ddof=1) / users, users - 1)] if users > 1 else []
    parts += [(table.mean(1).var(ddof=1) / len(table), len(table) - 1) for table in tables if len(table) > 1]
    variance = float(sum(part for part, _ in parts))
    if variance == 0:  # nothing varies, so nothing is known of how much it could
        same = Interval(mean, mean, mean, users)
        return Comparison(same, 1.0, None, float("nan"))
    freedom, error = float(variance**2 / sum(part**2 / of for part, of in parts)), float(np.sqrt(variance))
    half = float(t.ppf(1 - (1 - LEVEL) / 2, freedom)) * error
    difference = Interval(mean, mean - half, mean + half, users)
    gain = None if base <= 0 else Interval(mean / base, (mean - half) / base, (mean + half) / base, users)
    p = float(2 * t.sf(abs(mean) / error, freedom))
    return Comparison(difference, p, gain, _standard_errors(1 - LEVEL, freedom=freedom) * error, freedom)


def smallest_detectable(differences: npt.ArrayLike, power: float = 0.8, alpha: float = 0.05) -> float:
    """The mean difference that a two-sided test at `alpha` finds with `power`: (z₁₋α/₂ + z_power) · s / √users.

    s is the standard deviation of the paired `differences` (users,); nan for fewer than two users.
    """
    values = np.asarray(differences, np.float64)
    if values.size < 2:
        return float("nan")
    return float(_standard_errors(alpha, power) * values.std(ddof=1) / np.sqrt(values.size))


def detectable_of_many(detectable: float, tests: int, freedom: float | None = None, alpha: float = 0.05) -> float:
    """What `detectable` is where a test has to pass the first step of Holm's correction over so many `tests`."""
    return detectable * _standard_errors(alpha / tests, freedom=freedom) / _standard_errors(alpha, freedom=freedom)


def told_detectable(detectable: float | None, tests: int = 1, freedom: float | None = None) -> str:
    """As it stands in tables, corrected for so many `tests`; empty where it is not known."""
    return "" if detectable is None else f"{detectable_of_many(detectable, tests, freedom):.3f}"


def _standard_errors(alpha: float, power: float = 0.8, freedom: float | None = None) -> float:
    """Of the smallest difference that a two-sided test at `alpha` finds with `power`: z₁₋α/₂ + z_power, or the same of t."""
    if freedom is not None:
        from scipy.stats import t

        return float(t.ppf(1 - alpha / 2, freedom) + t.ppf(power, freedom))
    return NormalDist().inv_cdf(1 - alpha / 2) + NormalDist().inv_cdf(power)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's adjusted p for each cell, in the order given: below .05 means significant with all the cells looked at."""
    order = sorted(p_values, key=lambda cell: p_values[cell])
    adjusted, largest = {}, 0.0
    for place, cell in enumerate(order):
        largest = max(largest, min(1.0, p_values[cell] * (len(order) - place)))
        adjusted[cell] = largest
    return {cell: adjusted[cell] for cell in p_values}


def told_p(p: float) -> str:
    """A p-value with four digits; none is 0."""
    return "<0.0001" if p < 0.00005 else f"{p:.4f}"


def _differences(system: npt.ArrayLike, other: npt.ArrayLike) -> Floats:
    first, second = np.asarray(system, np.float64), np.asarray(other, np.float64)
    if first.shape != second.shape or first.ndim != 1 or first.size == 0:
        raise InputError(
            f"both systems must have one value for each of the same users, not {first.shape} and {second.shape}"
        )
    return first - second


def _shares(seeds: int, resamples: int, generator: np.random.Generator) -> Floats:
    """(resamples, seeds): the share of each seed where as many are drawn with replacement."""
    drawn: Floats = generator.multinomial(seeds, np.full(seeds, 1 / seeds), resamples) / seeds
    return drawn


def _bootstrap(users: int, seed: int, statistic: Callable[[npt.NDArray[np.int64]], Floats]) -> Floats:
    """`statistic` of (resamples, users) places, (values, resamples), in chunks that fit in memory."""
    generator = np.random.default_rng(seed)
    rows = max(1, _CHUNK // users)
    parts = [
        statistic(generator.integers(0, users, (min(rows, RESAMPLES - done), users)))
        for done in range(0, RESAMPLES, rows)
    ]
    return np.concatenate(parts, axis=-1)


def _ends(values: Floats) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
