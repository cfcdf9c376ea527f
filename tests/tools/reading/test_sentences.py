"""Cutting where a sentence ends: cases by hand, and what holds for any text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webrec.tools.reading.sentences import cut_at_sentence

TEXTS = st.lists(
    st.sampled_from(
        [". ", "! ", "? ", "... ", "… ", "。", "！", ".) ", '." ', " ", "Mr. ", "J. ", "3.14", "U.S. ", "。」"]
    )
    | st.text(st.sampled_from("abAB保湿é 7.\n"), max_size=9)
).map("".join)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("One is here. Two is here. Three is cut", "One is here. Two is here."),
        ("One is here! Two is here? Three is cut", "One is here! Two is here?"),
        ("She ran home. He met Dr. Brown at the house", "She ran home."),
        ("She ran home. It was by J. R. R. Tolkien, who", "She ran home."),
        ("She ran home. The U.S. Army came to the town", "She ran home."),
        ("She ran home. It costs 3.50 or more at the shop", "She ran home."),
        ("She ran home. See example.com for more of this", "She ran home."),
        ("She ran home. Fruit, e.g. apples, is good for", "She ran home."),
        ("She ran home. Pens, ink etc. were all sold out", "She ran home."),
        ("She ran home. And then... nothing happened here", "She ran home."),
        ("It was Bob and I. We left the house at", "It was Bob and I."),
        ('He said "Go away." Then he went to the inn', 'He said "Go away."'),
        ("(It was over.) Then she went to the inn", "(It was over.)"),
        ("これは良い本です。とても面白いです。さらに続く話が", "これは良い本です。とても面白いです。"),
        ("「行こう。」と彼は言った", "「行こう。」"),
        ("यह अच्छा है। बहुत अच्छा", "यह अच्छा है।"),
        ("Wait a little… Then she went to the inn", "Wait a little…"),
    ],
)
def test_by_hand(text: str, kept: str) -> None:
    assert cut_at_sentence(text, min(len(text) - 1, 36)) == kept


def test_what_fits_is_not_cut() -> None:
    assert cut_at_sentence("One. Two and", 12) == "One. Two and"
    assert cut_at_sentence("", 0) == ""
    assert cut_at_sentence("One. Two", 0) == ""


def test_an_end_at_the_very_cut_counts_and_one_behind_it_does_not() -> None:
    assert cut_at_sentence("One two. Three four.", 8) == "One two."
    assert cut_at_sentence("One two. Three four.", 7) == "One"
    assert cut_at_sentence("Walk on.... And then", 8) == "Walk"


def test_too_short_a_sentence_gives_way_to_a_word() -> None:
    text = "Yes. " + "Word " * 20
    assert cut_at_sentence(text, 12) == "Yes."
    assert cut_at_sentence(text, 13) == "Yes. Word"


def test_text_without_spaces_is_cut_at_the_end() -> None:
    assert cut_at_sentence("保湿クリーム" * 10, 20) == ("保湿クリーム" * 10)[:20]
    assert cut_at_sentence("ab " + "x" * 100, 50) == "ab " + "x" * 47


@given(TEXTS, st.integers(-1, 60))
def test_a_prefix_that_fits(text: str, end: int) -> None:
    kept = cut_at_sentence(text, end)
    assert text.startswith(kept)
    assert len(kept) <= max(end, 0)
    assert cut_at_sentence(kept, end) == kept
    if len(text) > end > 0:
        assert 3 * len(kept) >= end  # never less than a third
        assert not kept[-1].isspace() or 3 * len(text[:end].rstrip()) < end or len(kept) == end


@given(TEXTS)
def test_a_larger_end_never_keeps_less(text: str) -> None:
    lengths = [len(cut_at_sentence(text, end)) for end in range(len(text) + 1)]
    assert lengths == sorted(lengths)


@pytest.mark.parametrize("text", [". " * 50_000, "." * 100_000, "a. " * 30_000, '."' * 50_000, " " * 100_000])
def test_hostile_texts_are_cut_at_once(text: str) -> None:
    assert len(cut_at_sentence(text, len(text) - 1)) < len(text)
