"""Where a text names candidates: every place, in a time that no page can make long."""

from __future__ import annotations

from webrec.tools.reading.candidate_names import MOST_MENTIONS, Mention, fold, mentions


def found(text: str, *candidates: str) -> list[Mention]:
    return mentions(fold(text), text, candidates)


def test_every_place_of_every_form() -> None:
    text = "The Godfather, and the godfather again; Up is up."
    assert found(text, "Godfather, The (1972)", "Up") == [
        Mention(0, 13, 0),
        Mention(19, 32, 0),
        Mention(40, 42, 1),
    ]
    assert found("superUp Uptown", "Up") == []


def test_candidates_that_share_a_name_are_each_named() -> None:
    assert found("See Alien.", "Alien (1979)", "Alien (2003)") == [Mention(4, 9, 0), Mention(4, 9, 1)]


def test_a_page_that_repeats_a_name_of_many_is_looked_at_in_bounds() -> None:
    candidates = [f"abcdef ({n})" for n in range(1_000)]
    many = found("abcdef " * 20_000, *candidates)
    assert MOST_MENTIONS <= len(many) < MOST_MENTIONS + len(candidates)
    assert {mention.candidate for mention in many} == set(range(1_000))
