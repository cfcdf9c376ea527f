"""From tokens to words, for both kinds of tokenizer and for scripts with and without spaces."""

from __future__ import annotations

from itertools import pairwise

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from webrec.models.backbone import Backbone
from webrec.models.words import Word, split_words, token_spans

TEXTS = [
    "A gentle, fragrance-free cream.",
    "  two leading spaces",
    "Öl-in-Wasser-Emulsion: Feuchtigkeitscreme, Größe, Übergröße",
    "保湿クリームは乾燥した肌にやさしい。",
    "鬱蒼とした森を歩く",
    "family 👩‍👩‍👧‍👦 and heart ❤️ and flag 🇩🇪",
    "ครีมกันแดด",
    "tab\tand\nnewline \n\n end ",
]


def assert_orderly(text: str, spans: list[tuple[int, int]]) -> None:
    assert all(0 <= start <= end <= len(text) for start, end in spans)
    assert spans == sorted(spans)
    covered = {i for start, end in spans for i in range(start, end)}
    assert covered == set(range(len(text)))


@pytest.mark.parametrize("text", TEXTS)
def test_spans_cover_the_text_in_order(backbone: Backbone, text: str) -> None:
    ids = backbone.chat.encode(text)
    decoded, spans = token_spans(ids, backbone.chat.decode)
    assert decoded.strip() == text.strip()
    assert len(spans) == len(ids)
    assert_orderly(decoded, spans)


@given(st.text(max_size=30))
def test_spans_cover_any_text(backbone: Backbone, text: str) -> None:
    decoded, spans = token_spans(backbone.chat.encode(text), backbone.chat.decode)
    assert_orderly(decoded, spans)


@given(st.data())
def test_spans_cover_any_tokens(backbone: Backbone, data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(0, backbone.model.config.vocab_size - 1), max_size=20))
    decoded, spans = token_spans(ids, backbone.chat.decode)
    assert decoded == backbone.chat.decode(ids)
    assert len(spans) == len(ids)
    assert_orderly(decoded, spans)


def test_each_token_covers_what_it_adds(backbone: Backbone) -> None:
    text = "The cream is soothing and gentle"
    ids = backbone.chat.encode(text)
    decoded, spans = token_spans(ids, backbone.chat.decode)
    pieces = [backbone.chat.tokenizer.convert_ids_to_tokens(i) for i in ids]
    plain = [piece.replace("Ġ", " ").replace("▁", " ") for piece in pieces]
    assert [decoded[start:end].strip() for start, end in spans] == [piece.strip() for piece in plain]


def test_every_token_of_one_character_covers_it(backbone: Backbone) -> None:
    ids = backbone.chat.encode("x鬱y")
    decoded, spans = token_spans(ids, backbone.chat.decode)
    at = decoded.index("鬱")
    parts = [span for span in spans if span[0] <= at < span[1]]
    assert len(parts) >= 3
    assert set(parts) == {(at, at + 1)}
    words = split_words(decoded, spans)
    assert [w.text for w in words] == ["x", "鬱", "y"]
    assert len(words[1].tokens) == len(parts)


def test_text_that_ends_inside_a_character(backbone: Backbone) -> None:
    ids = backbone.chat.encode("good 鬱")[:-1]
    decoded, spans = token_spans(ids, backbone.chat.decode)
    assert decoded.startswith("good �")
    assert_orderly(decoded, spans)
    assert [w.text for w in split_words(decoded, spans)] == ["good"]


WORDS = {
    "fragrance-free": ["fragrance-free"],
    "don't, the skin's; skin’s": ["don't", "the", "skin's", "skin’s"],
    "'quoted' rock 'n' roll-": ["quoted", "rock", "n", "roll"],
    "Öl-in-Wasser für süße Füße": ["Öl-in-Wasser", "für", "süße", "Füße"],
    "size 42, 3-in-1, B12": ["size", "42", "3-in-1", "B12"],
    "a_b a.b a/b": ["a", "b", "a", "b", "a", "b"],
    "日本語のスーパーで": ["日本語", "の", "スーパー", "で"],
    "らーめんとビール": ["らーめんと", "ビール"],
    "Tシャツ白XL": ["T", "シャツ", "白", "XL"],
    "ครีมกันแดด SPF50": ["ครีมกันแดด", "SPF50"],
    "ក្រែម ครีมSPF": ["ក្រែម", "ครีม", "SPF"],
    "Привет, κόσμε! مرحبا": ["Привет", "κόσμε", "مرحبا"],
    "cafe\u0301 nai\u0308ve": ["cafe\u0301", "nai\u0308ve"],
    "か\u3099き": ["か\u3099き"],
    "I ❤️ it 👩‍👩‍👧 ☀️!": ["I", "it"],
    "葛\U000e0100城": ["葛\U000e0100城"],
    "日\u200d本": ["日", "本"],
    "": [],
    " .,;: — … 。、": [],
}


@pytest.mark.parametrize("text", WORDS)
def test_words(text: str) -> None:
    one_token_each = [(i, i + 1) for i in range(len(text))]
    words = split_words(text, one_token_each)
    assert [w.text for w in words] == WORDS[text]
    assert all(text[w.start : w.end] == w.text for w in words)
    assert all(w.tokens == tuple(range(w.start, w.end)) for w in words)


def test_a_word_has_every_token_that_overlaps_it() -> None:
    # "dry skin" as the tokens "dr", "y s", "kin", and an empty one.
    words = split_words("dry skin", [(0, 2), (2, 5), (5, 8), (8, 8)])
    assert words == [Word("dry", 0, 3, (0, 1)), Word("skin", 4, 8, (1, 2))]
    assert split_words("dry skin", [(0, 3)]) == [Word("dry", 0, 3, (0,))]


letters = st.text(st.sampled_from("abÖß'’-‐ .1保湿くクーม้\u0301\ufe0f❤👩\u200d�"), max_size=30) | st.text(max_size=30)


@given(letters)
def test_words_are_ordered_disjoint_and_have_tokens(backbone: Backbone, text: str) -> None:
    decoded, spans = token_spans(backbone.chat.encode(text), backbone.chat.decode)
    words = split_words(decoded, spans)
    assert all(a.end <= b.start for a, b in pairwise(words))
    assert all(w.start < w.end and decoded[w.start : w.end] == w.text for w in words)
    for word in words:
        assert regex.match(r"[\p{L}\p{N}]", word.text)
        covered = {i for t in word.tokens for i in range(*spans[t])}
        assert covered >= set(range(word.start, word.end))
