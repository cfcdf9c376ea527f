"""The shipped examples: their shape, and that no title gives the target away."""

from __future__ import annotations

import re
from itertools import combinations

import pytest

from webrec.examples import NAMES, load_example

EXAMPLES = {name: load_example(name) for name in NAMES}


def listed(name: str) -> list[str]:
    """History and candidates of one example."""
    return [*EXAMPLES[name]["history"], *EXAMPLES[name]["candidates"]]


def words(text: str) -> list[str]:
    """Lower-case words; "co-op" is one."""
    return re.findall(r"[^\W_]+(?:[-'’][^\W_]+)*", text.lower())


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_has_the_shape_of_the_others(name: str) -> None:
    example = EXAMPLES[name]
    assert set(example) == {"source", "history", "candidates", "target"}
    assert len(example["candidates"]) == 20
    assert len(example["history"]) == {"paper": 4, "films": 6, "games": 6, "no_page": 4}[name]
    assert example["target"] in example["candidates"]
    assert not set(example["history"]) & set(example["candidates"])


def test_titles_are_distinct_and_none_contains_another() -> None:
    titles = [title for name in EXAMPLES for title in listed(name)]
    assert len(titles) == len(set(titles))
    for left, right in combinations(titles, 2):
        assert left.casefold() not in right.casefold(), (left, right)
        assert right.casefold() not in left.casefold(), (left, right)


@pytest.mark.parametrize("name", ["films", "games", "no_page"])
def test_target_is_not_given_away_by_the_words_of_titles(name: str) -> None:
    example = EXAMPLES[name]
    history = {word for title in example["history"] for word in words(title) if not word.isdigit()}
    shared = {title: len(history & set(words(title))) for title in example["candidates"]}
    assert sum(n >= shared[example["target"]] for n in shared.values()) > 1, shared
    if name != "no_page":
        assert shared[example["target"]] == 0
