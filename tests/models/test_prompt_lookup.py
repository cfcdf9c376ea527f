"""Guesses against a search through the whole text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from webrec.models.prompt_lookup import LENGTHS, PromptLookup

IDS = st.lists(st.integers(0, 3), max_size=40)


def searched(ids: list[int], tokens: int) -> list[int]:
    """What followed the last earlier occurrence of the end, of three tokens if there is one, else of two."""
    for n in LENGTHS:
        for begin in range(len(ids) - n - 1, -1, -1):
            if ids[begin : begin + n] == ids[-n:]:
                return ids[begin + n : begin + n + tokens]
    return []


@given(IDS, IDS, st.integers(0, 5))
def test_equals_a_search(prompt: list[int], written: list[int], tokens: int) -> None:
    lookup = PromptLookup(prompt)
    assert lookup.guess(tokens) == searched(prompt, tokens)
    for count, token in enumerate(written, 1):
        lookup.add(token)
        assert lookup.guess(tokens) == searched(prompt + written[:count], tokens)


@given(IDS, IDS)
def test_what_comes_after_is_looked_for_but_not_noted(prompt: list[int], after: list[int]) -> None:
    lookup = PromptLookup(prompt)
    guess = lookup.guess(3, after)
    ends = [tuple([*prompt, *after][-n:]) for n in LENGTHS if len(prompt) + len(after) >= n]
    noted = {end: lookup.guess(3, end) for end in ends}
    assert guess == next((g for g in noted.values() if g), [])
    assert lookup.guess(3) == searched(prompt, 3)


def test_the_longer_match_comes_first() -> None:
    lookup = PromptLookup([1, 2, 3, 7, 9, 2, 3, 8, 1, 2, 3])
    assert lookup.guess(1) == [7]
