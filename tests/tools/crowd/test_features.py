"""Evidence of the crowd against slow, readable references."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from webrec.tools.crowd.features import DECAY, SMOOTHING, CrowdFeatures
from webrec.tools.crowd.pairs import followed
from webrec.tools.crowd.records import ItemFacts, Records

DAY = 86_400
GENERATOR = np.random.default_rng(4)
IDS = [f"i{n:02}" for n in range(25)]
SEQUENCES = [[IDS[n] for n in GENERATOR.integers(0, 22, 9)] for _ in range(40)]  # three items are never taken
TIMES = [[int(t) for t in np.sort(GENERATOR.integers(0, 400, 9)) * DAY] for _ in SEQUENCES]
FACTS = {
    item: ItemFacts(f"thing number {n % 4} {item}", f"brand {n % 3}", ("a", f"c{n % 2}"), 1990 + n)
    for n, item in enumerate(IDS)
}
RECORDS = Records(FACTS, SEQUENCES, TIMES)
FEATURES = CrowdFeatures(RECORDS)
HISTORY = ["i03", "i07", "i03", "i11"]
CANDIDATES = [item for item in IDS if item not in HISTORY]
NOW = 250 * DAY


def column(name: str, features: CrowdFeatures = FEATURES, now: int | None = NOW) -> list[float]:
    table = features.of(HISTORY, CANDIDATES, now)
    assert table.shape == (len(CANDIDATES), len(features.names))
    return [float(value) for value in table[:, features.names.index(name)]]


def count(item: str) -> int:
    return sum(sequence.count(item) for sequence in SEQUENCES)


def after(first: str, then: str, steps: int) -> int:
    """How often `then` came 1 to `steps` places after `first`."""
    return sum(
        (a, b) == (first, then) and 0 < j - i <= steps and first != then
        for sequence in SEQUENCES
        for (i, a), (j, b) in itertools.product(enumerate(sequence), repeat=2)
    )


PAST = [("i11", 1.0), ("i03", DECAY), ("i07", DECAY**2)]
"""Each item once, the latest first."""


@pytest.mark.parametrize(("name", "steps", "ahead", "behind"), [
    ("near_1", 1, 1, 1), ("near_3", 3, 1, 1), ("near_10", 10, 1, 1), ("next_1", 1, 1, 0), ("next_5", 5, 1, 0), ("before_5", 5, 0, 1),
])  # fmt: skip
def test_pairs_that_stand_near(name: str, steps: int, ahead: int, behind: int) -> None:
    expected = [
        sum(
            weight * (ahead * after(item, c, steps) + behind * after(c, item, steps)) / (count(item) + SMOOTHING)
            for item, weight in PAST
        )
        for c in CANDIDATES
    ]
    assert column(name) == pytest.approx(expected)
    assert max(expected) > 0


def test_pairs_with_the_last_item_and_with_any() -> None:
    assert column("last_next") == pytest.approx([math.log1p(after("i11", c, 1)) for c in CANDIDATES])
    assert column("last_near") == pytest.approx(
        [math.log1p(after("i11", c, 3) + after(c, "i11", 3)) for c in CANDIDATES]
    )

    def both(item: str, c: str) -> int:
        return after(item, c, 5) + after(c, item, 5)

    assert column("pairs_5") == pytest.approx([math.log1p(sum(both(i, c) for i, _ in PAST)) for c in CANDIDATES])
    assert column("lift") == pytest.approx(
        [max(both(i, c) / math.sqrt((count(i) + 1) * (count(c) + 1)) for i, _ in PAST) for c in CANDIDATES]
    )


def test_common_users() -> None:
    takers = {item: {n for n, sequence in enumerate(SEQUENCES) if item in sequence} for item in IDS}

    def cosine(a: str, b: str) -> float:
        both = math.sqrt(len(takers[a]) * len(takers[b]))
        return len(takers[a] & takers[b]) / both if both else 0.0

    assert column("knn") == pytest.approx([sum(cosine(i, c) for i, _ in PAST) for c in CANDIDATES])
    assert column("knn_recent") == pytest.approx([sum(w * cosine(i, c) for i, w in PAST) for c in CANDIDATES])


def test_popularity_and_time() -> None:
    assert column("popularity") == pytest.approx([math.log1p(count(c)) for c in CANDIDATES])
    late = [sum(sequence[-2:].count(c) for sequence in SEQUENCES) for c in CANDIDATES]
    assert column("late_popularity") == pytest.approx([math.log1p(n) for n in late])
    when = {
        c: [t for s, times in zip(SEQUENCES, TIMES, strict=True) for i, t in zip(s, times, strict=True) if i == c]
        for c in CANDIDATES
    }
    for days in (30, 180):
        expected = [math.log1p(sum(NOW - days * DAY <= t < NOW for t in when[c])) for c in CANDIDATES]
        assert column(f"recent_{days}") == pytest.approx(expected)
    first = min(itertools.chain(*TIMES))
    idle = [(NOW - max((t for t in when[c] if t < NOW), default=first)) / DAY for c in CANDIDATES]
    assert column("idle") == pytest.approx([math.log1p(days) for days in idle])


def test_what_comes_later_is_not_seen_by_time() -> None:
    """Takes at or after now change nothing of what is counted by time."""
    cut = [
        [(i, t) for i, t in zip(s, times, strict=True) if t < NOW] for s, times in zip(SEQUENCES, TIMES, strict=True)
    ]
    earlier = Records(FACTS, [[i for i, _ in own] for own in cut], [[t for _, t in own] for own in cut])
    for name in ("recent_30", "recent_180", "idle"):
        assert column(name, CrowdFeatures(earlier)) == column(name)


def test_what_items_are() -> None:
    weights = [w / sum((DECAY**3, DECAY**2, DECAY, 1)) for w in (DECAY**3, DECAY**2, DECAY, 1)]
    expected = [
        sum(w for w, i in zip(weights, HISTORY, strict=True) if FACTS[i].brand == FACTS[c].brand) for c in CANDIDATES
    ]
    assert column("same_brand") == pytest.approx(expected)
    alike = [
        sum(w * (1.0 if FACTS[i].categories == FACTS[c].categories else 1 / 3) for w, i in zip(weights, HISTORY, strict=True))
        for c in CANDIDATES
    ]  # fmt: skip
    assert column("same_category") == pytest.approx(alike)
    centre = sum(w * (FACTS[i].year or 0) for w, i in zip(weights, HISTORY, strict=True))
    assert column("year") == pytest.approx([-math.log1p(abs((FACTS[c].year or 0) - centre)) for c in CANDIDATES])
    words = {i: FACTS[i].title.split() for i in IDS}

    def vector(item: str) -> dict[str, float]:
        found = {w: math.log(len(IDS) / sum(w in own for own in words.values())) for w in words[item]}
        length = math.sqrt(sum(v * v for v in found.values()))
        return {w: v / length for w, v in found.items()}

    def cosine(a: str, b: str) -> float:
        one, other = vector(a), vector(b)
        return sum(v * other.get(w, 0.0) for w, v in one.items())

    cosines = [[cosine(i, c) for i in HISTORY] for c in CANDIDATES]
    assert column("title_mean") == pytest.approx([sum(row) / 4 for row in cosines])
    assert column("title_last") == pytest.approx([row[-1] for row in cosines])
    assert column("title_most") == pytest.approx([max(row) for row in cosines])


def test_only_what_the_records_hold() -> None:
    bare = CrowdFeatures(Records({item: ItemFacts() for item in IDS}, SEQUENCES))
    assert not {"recent_30", "idle", "same_brand", "same_category", "year"} & set(bare.names)
    assert {"popularity", "near_3", "title_mean"} <= set(bare.names)
    assert np.isfinite(bare.of(HISTORY, CANDIDATES)).all()


def test_unknown_items_and_no_history() -> None:
    table = FEATURES.of(["unknown"], ["i01", "unheard of"], NOW)
    assert not table[1].any()
    assert table[0, FEATURES.names.index("popularity")] > 0
    assert np.isfinite(FEATURES.of([], CANDIDATES, NOW)).all()
    assert CrowdFeatures(Records(FACTS, [])).of(HISTORY, CANDIDATES).shape[0] == len(CANDIDATES)


def test_pair_counts_transposed() -> None:
    counts = followed(RECORDS.coded(), len(IDS), 3)
    forward, backward = np.zeros(len(IDS)), np.zeros((len(IDS), len(IDS)))
    counts.add_row(3, 2.0, forward)
    for row in range(len(IDS)):
        counts.transposed().add_row(row, 1.0, backward[row])
    assert forward == pytest.approx(2 * backward[:, 3])
    assert forward[7] == 2 * after("i03", "i07", 3)
