"""Eq. 4-5: by hand, against the definition, and the rules for words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webrec.models.keywords import pick_keywords, pool, stop_words, token_scores
from webrec.models.words import Word

NONE: frozenset[str] = frozenset()


def words_of(text: str) -> list[Word]:
    """Words separated by spaces, one token each."""
    words, start = [], 0
    for number, part in enumerate(text.split(" ")):
        words.append(Word(part, start, start + len(part), (number,)))
        start += len(part) + 1
    return words


def picked(text: str, scores: list[float], count: int, stops: frozenset[str] = NONE) -> list[str]:
    return [k.word.text for k in pick_keywords(words_of(text), scores, count, stops)]


def test_scores_are_products() -> None:
    assert token_scores([0.5, 0.25, 0.0], [2.0, 4.0, 9.0]) == [1.0, 1.0, 0.0]
    assert token_scores([], []) == []
    with pytest.raises(ValueError, match="zip"):
        token_scores([0.5], [1.0, 2.0])


def test_pooling_by_hand() -> None:
    scores = [6.0, 0.0, 3.0, 9.0]
    assert pool(scores, 1) == scores
    assert pool(scores, 2) == [6.0, 3.0, 1.5, 6.0]
    assert pool(scores, 3) == [3.0, 3.0, 4.0, 6.0]
    assert pool(scores, 5) == [3.0, 4.5, 4.5, 4.0]
    assert pool(scores, 99) == [4.5] * 4
    assert pool([7.0], 3) == [7.0]
    assert pool([], 3) == []


def reference_pool(scores: list[float], window: int) -> list[float]:
    """The mean over the positions i - ⌊w/2⌋ … i + ⌈w/2⌉ - 1 that exist."""
    result = []
    for i in range(len(scores)):
        near = [s for j, s in enumerate(scores) if -(window // 2) <= j - i < window - window // 2]
        result.append(sum(near) / len(near))
    return result


@given(st.lists(st.floats(0, 100), max_size=40), st.integers(1, 99))
def test_pooling_is_a_centred_mean(scores: list[float], window: int) -> None:
    pooled = pool(scores, window)
    assert pooled == pytest.approx(reference_pool(scores, window))
    if scores:
        slack = 1e-9 * max(scores)
        assert all(min(scores) - slack <= p <= max(scores) + slack for p in pooled)
    if window % 2:
        assert pool(scores[::-1], window)[::-1] == pytest.approx(pooled)


def test_the_best_words_in_order_of_appearance() -> None:
    assert picked("dry skin needs cream", [1, 4, 2, 3], 2) == ["skin", "cream"]
    assert picked("dry skin needs cream", [1, 4, 2, 3], 4) == ["dry", "skin", "needs", "cream"]
    assert picked("dry skin", [1, 4], 50) == ["dry", "skin"]
    assert picked("a", [0], 1) == ["a"]
    assert pick_keywords([], [1.0], 3, NONE) == []


def test_ties_go_to_the_earlier_word() -> None:
    assert picked("one two three four", [1, 2, 2, 2], 2) == ["two", "three"]
    assert picked("one two three four", [0, 0, 0, 0], 2) == ["one", "two"]


def test_words_that_differ_in_case_are_one_at_its_best_place() -> None:
    assert picked("Cream soft cream Soft CREAM", [1, 5, 9, 2, 3], 5) == ["soft", "cream"]
    assert picked("Cream soft cream", [4, 1, 4], 2) == ["Cream", "soft"]
    assert picked("STRASSE weit Straße", [1, 2, 3], 3) == ["weit", "Straße"]


def test_a_duplicate_takes_no_place() -> None:
    assert picked("cream cream cream soft", [9, 8, 7, 1], 2) == ["cream", "soft"]


def test_stop_words_are_dropped() -> None:
    stops = frozenset({"the", "is"})
    assert picked("The cream IS soft", [9, 1, 8, 2], 2, stops) == ["cream", "soft"]
    assert picked("the The is", [1, 2, 3], 5, stops) == []


def test_a_word_scores_as_its_best_token() -> None:
    words = [Word("long", 0, 4, (0, 1, 2)), Word("short", 5, 10, (3,)), Word("shared", 11, 17, (3, 4))]
    best = pick_keywords(words, [0.1, 0.9, 0.0, 0.5, 0.2], 2, NONE)
    assert [(k.word.text, k.score) for k in best] == [("long", 0.9), ("short", 0.5)]


word_lists = st.lists(
    st.tuples(st.sampled_from(["a", "A", "b", "B", "c", "the", "The"]), st.integers(0, 3)), max_size=12
)


@given(word_lists, st.integers(1, 6))
def test_picking_equals_a_slow_reading(pairs: list[tuple[str, int]], count: int) -> None:
    left = [n for n, (text, _) in enumerate(pairs) if text.lower() != "the"]
    expected: list[int] = []
    while left and len(expected) < count:
        best = next(n for n in left if pairs[n][1] == max(pairs[m][1] for m in left))
        expected.append(best)
        left = [n for n in left if pairs[n][0].lower() != pairs[best][0].lower()]
    words = [Word(text, 2 * n, 2 * n + 1, (n,)) for n, (text, _) in enumerate(pairs)]
    got = pick_keywords(words, [float(s) for _, s in pairs], count, frozenset({"the"}))
    assert [k.word.tokens[0] for k in got] == sorted(expected)


def test_stop_lists() -> None:
    english, german = stop_words("en"), stop_words("de")
    assert english is not None
    assert german is not None
    assert {"the", "and", "it's", "it’s", "don’t"} <= english
    assert {"und", "für", "der"} <= german
    assert not {"cream", "user's", "The"} & english
    assert stop_words("xx") is None
    assert stop_words("ja") is None or "は" in (stop_words("ja") or ())
