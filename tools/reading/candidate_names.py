"""Where a text names the candidates."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import NamedTuple

SHORT = 5
"""A shorter title ("Up", "Her") counts only as it is written, capitals included."""

MOST_MENTIONS = 5_000
"""Of one name, those of all candidates that share it counted: a page can repeat it thousands of times."""

_YEAR = re.compile(r"\s*\([^()]{1,40}\)$")
_ARTICLE = re.compile(r"^(.+), (the|an?|der|die|das|le|la|les|el|il)$", re.IGNORECASE)


class Mention(NamedTuple):
    """A candidate's title in a text: characters `start` to `end`; `candidate` is its place among them."""

    start: int
    end: int
    candidate: int


def mentions(folded: str, text: str, candidates: Sequence[str]) -> list[Mention]:
    """Every place of a candidate's title, with or without what it has in brackets at its end, in order.

    `folded` is `fold(text)`. "Godfather, The (1972)" is also looked for as "the godfather".
    """
    found: list[Mention] = []
    for (short, wanted), own in _owners(tuple(candidates)).items():
        within, begun = text if short else folded, len(found)
        start = within.find(wanted)
        while start >= 0 and len(found) - begun < MOST_MENTIONS:
            end = start + len(wanted)
            if not (within[start - 1 : start].isalnum() or within[end : end + 1].isalnum()):
                found += [Mention(start, end, index) for index in own]
            start = within.find(wanted, end)
    return sorted(found)


@lru_cache(maxsize=8)
def _owners(candidates: tuple[str, ...]) -> dict[tuple[bool, str], list[int]]:
    """The places of the candidates that go by a name, by whether it is short, and the name as it is looked for."""
    owners: dict[tuple[bool, str], list[int]] = {}
    for index, title in enumerate(candidates):
        for name in names_of(title):
            short = len(name) < SHORT
            owners.setdefault((short, name if short else fold(name)), []).append(index)
    return owners


def names_of(title: str) -> list[str]:
    """The forms of a title: as it is; without the brackets at its end; with a trailing article in front. Two letters at least."""
    bare = _YEAR.sub("", title.strip())
    forms = [bare, _ARTICLE.sub(r"\2 \1", bare)]
    return [form for form in dict.fromkeys(forms) if len(form) > 1]


def fold(text: str) -> str:
    """Small letters, compatibility forms and straight quotes, character by character: places stay what they were."""
    return text.lower().replace("`", "'") if text.isascii() else "".join(map(_fold_character, text))


@cache
def _fold_character(character: str) -> str:
    if character in "’‘´`":
        return "'"
    if character in "“”„«»":
        return '"'
    folded = unicodedata.normalize("NFKC", character).lower()
    return folded if len(folded) == 1 else character
