"""Foreign text and numbers, made fit for a page that people look at."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

import regex

from webrec.tools.text_safety import clean

MOST_MARKED = 40
"""Queries of more distinct words than this are not marked in the pages: everything would be."""

_HIDDEN = {"Cc", "Cf", "Co", "Cn", "Cs"}
_SHOWN_AS_THEY_ARE = {"\n", "\t", "\u200c", "\u200d"}
_UNSPACED = regex.compile(
    r"[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]"
)
_EDGES = regex.compile(r"^[^\p{L}\p{M}\p{N}]+|[^\p{L}\p{M}\p{N}]+$")


@dataclass(frozen=True)
class Shown:
    """A foreign text as the page shows it; `altered` if more than white space had to go."""

    text: str
    altered: bool = False


@dataclass(frozen=True)
class Piece:
    """A part of a text, and whether it is a keyword."""

    text: str
    marked: bool = False


def shown(text: str) -> Shown:
    """One line of `text`, cleaned."""
    cleaned = clean(text)
    return Shown(cleaned, altered=cleaned != " ".join(text.split()))


def reveal(text: str) -> str:
    """`text` with every control, invisible or reordering character replaced by its visible code, as ⟨U+202E⟩.

    For text whose characters must keep their places, where `clean` would fold and cut.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_code(c) if unicodedata.category(c) in _HIDDEN and c not in _SHOWN_AS_THEY_ARE else c for c in text)


def _code(character: str) -> str:
    return f"⟨U+{ord(character):04X}⟩"


def keyword_spans(text: str, keywords: Iterable[str]) -> list[tuple[int, int]]:
    """Where the keywords occur in `text` as whole words, in any case; nothing if there are too many keywords."""
    words = {_EDGES.sub("", k).casefold() for k in keywords}
    words = {w for w in words if len(w) > 2 or _UNSPACED.search(w)}
    if not words or len(words) > MOST_MARKED:
        return []
    parts = (
        regex.escape(w) if _UNSPACED.search(w) else rf"(?<!\w){regex.escape(w)}(?!\w)"
        for w in sorted(words, key=lambda w: (-len(w), w))
    )
    return [m.span() for m in regex.finditer("|".join(parts), text, regex.IGNORECASE)]


def pieces(text: str, spans: Iterable[tuple[int, int]], start: int = 0, end: int | None = None) -> list[Piece]:
    """`text[start:end]` in pieces, those inside `spans` (ordered, apart from each other) marked."""
    end = len(text) if end is None else min(end, len(text))
    out: list[Piece] = []
    for first, last in spans:
        first, last = max(first, start), min(last, end)
        if first >= last:
            continue
        if first > start:
            out.append(Piece(text[start:first]))
        out.append(Piece(text[first:last], marked=True))
        start = last
    if start < end:
        out.append(Piece(text[start:end]))
    return out


def number(value: float | None, digits: int = 3) -> str:
    """A number for people: 0.074, 2.97, −13.1, 1,555; '–' for none."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    size = abs(value)
    smallest = 10.0**-digits
    if size < smallest:
        return f"{'>−' if value < 0 else '<'}{smallest:.{digits}f}"
    decimals = digits if size < 1 else 2 if size < 10 else 1 if size < 100 else 0
    return f"{value:,.{decimals}f}".replace("-", "−")


def percent(value: float) -> str:
    """A probability for people: 9.2%, <0.1%."""
    if not math.isfinite(value):
        return "–"
    if 0 < value < 0.001:
        return "<0.1%"
    return f"{value:.0%}" if value in (0.0, 1.0) else f"{value:.1%}"


def plural(count: int, one: str, many: str | None = None) -> str:
    """'1 page', '1,200 pages'."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
