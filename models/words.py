"""From tokens to words, for any tokenizer: by the text that tokens decode to, never by a space marker.

A word is a run of letters, marks and digits, inner apostrophes and hyphens included. Scripts that are written
without spaces have no such runs, so there a word is a run of one script (Han, Hiragana, Katakana, Thai, Lao,
Khmer, Myanmar): coarser than a dictionary's words, and the same on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import regex

_UNSPACED = ("Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar")
_KANA_MARKS = "ーﾞﾟ"  # of no script of their own
_ALL_UNSPACED = "".join(rf"\p{{Script={name}}}" for name in _UNSPACED) + _KANA_MARKS


def _run_of(script: str) -> str:
    """A letter or digit of `script`, then what belongs to it, combining marks included."""
    marks = _KANA_MARKS if script in ("Hiragana", "Katakana") else ""
    return rf"[\p{{Script={script}}}&&[\p{{L}}\p{{N}}]][\p{{Script={script}}}\p{{M}}{marks}]*"


_RUNS = "|".join(map(_run_of, _UNSPACED))
_START = rf"[[\p{{L}}\p{{N}}]--[{_ALL_UNSPACED}]]"
_LETTER = rf"[[\p{{L}}\p{{M}}\p{{N}}]--[{_ALL_UNSPACED}]]"
_WORD = regex.compile(rf"(?V1)(?:{_RUNS}|{_START}{_LETTER}*(?:['’‐-]{_LETTER}+)*)")


@dataclass(frozen=True)
class Word:
    """A word of the generated text: its characters [start, end), and the tokens that cover them."""

    text: str
    start: int
    end: int
    tokens: tuple[int, ...]


def token_spans(ids: Sequence[int], decode: Callable[[list[int]], str]) -> tuple[str, list[tuple[int, int]]]:
    """The decoded text and, for each token, the characters [start, end) that it covers.

    Tokens are decoded as growing prefixes, since byte-level and SentencePiece tokens may hold part of a character
    or drop a leading space. A token that ends inside a character covers that whole character.
    """
    text = decode(list(ids))
    ends: list[int] = []
    for count in range(1, len(ids) + 1):
        prefix = decode(list(ids[:count])) if count < len(ids) else text
        ends.append(max(_common_prefix(prefix, text), ends[-1] if ends else 0))
    spans: list[tuple[int, int]] = []
    start = 0
    for end in ends:
        spans.append((start, end if end > start else min(start + 1, len(text))))
        start = end
    return text, spans


def _common_prefix(prefix: str, text: str) -> int:
    if text.startswith(prefix):
        return len(prefix)
    for index, (left, right) in enumerate(zip(prefix, text, strict=False)):
        if left != right:
            return index
    return min(len(prefix), len(text))


def split_words(text: str, spans: Sequence[tuple[int, int]]) -> list[Word]:
    """The words of `text` in order, each with every token whose span overlaps it (at least one)."""
    words = []
    for match in _WORD.finditer(text):
        start, end = match.span()
        covering = tuple(i for i, (first, last) in enumerate(spans) if first < end and last > start)
        if covering:
            words.append(Word(match.group(), start, end, covering))
    return words
