"""Users as prompts show them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webrec.models.config import PromptForm
from webrec.nodes.prompt import INSTRUCTION, User, anyones_prompt, scoring_prompt
from webrec.tools.text_safety import normalised

TITLES = ["Red wool scarf, long - 2 pack", "Red wool scarf for children", "Garden hose", "Soap"]


def user(words: int | None) -> User:
    return User.of(TITLES[:2], TITLES, history_items=10, seed=0, title_words=words)


def test_titles_are_whole_unless_said() -> None:
    assert set(user(None).candidates) == set(TITLES)
    assert user(None).history == tuple(TITLES[:2])


def test_titles_are_cut_to_words_and_lose_what_dangles() -> None:
    assert set(user(5).candidates) == {"Red wool scarf, long", "Red wool scarf for children", "Garden hose", "Soap"}


def test_candidates_that_would_be_alike_stay_whole() -> None:
    assert set(user(3).candidates) == set(TITLES)
    assert user(3).history == ("Red wool scarf", "Red wool scarf")


def test_the_next_item_completes_what_was_taken_and_is_not_named() -> None:
    someone = User.of(["Comb", "Mirror"], TITLES, history_items=10, seed=0)
    bare = scoring_prompt(someone, [], "next")
    assert bare.endswith("Comb; Mirror in the previous. The next item that this user buys is")
    assert scoring_prompt(someone, [("A page", "Its text.")], "next") == (
        f"{INSTRUCTION}\nWebsites: [1] Title: A page Content: Its text.\n{bare}"
    )
    assert not any(title in bare for title in TITLES)


@pytest.mark.parametrize(("form", "named"), [("request", True), ("next", False)])
def test_anyones_prompt_knows_the_candidates_at_most(form: PromptForm, named: bool) -> None:
    someone = User.of(["Comb", "Mirror"], TITLES, history_items=10, seed=0)
    text = anyones_prompt(someone, form)
    assert "bought nothing in" in text
    assert not any(title in text for title in someone.history)
    assert all((title in text) is named for title in TITLES)


@given(
    st.lists(st.text("ab ,-", min_size=1, max_size=9).filter(lambda t: t.strip() != ""), max_size=6), st.integers(1, 3)
)
def test_candidates_stay_distinct(titles: list[str], words: int) -> None:
    distinct = list({normalised(title): title for title in titles}.values())
    found = User.of(["x"], distinct, history_items=1, seed=0, title_words=words).candidates
    assert len({normalised(title) for title in found}) == len(distinct)
    assert all(found)
