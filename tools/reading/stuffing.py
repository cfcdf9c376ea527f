"""Keyword stuffing: a candidate's title, or one word, more often than prose has it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from webrec.tools.reading.candidate_names import Mention

TITLE_TIMES, TITLE_SHARE = 4, 0.2
"""A title so many times, its letters making up so much of the text."""

WORD_TIMES, WORD_SHARE = 12, 0.2
"""A word of four letters or more so many times, and so large a part of all words."""

_WORD = re.compile(r"\w{2,}")


def stuffed(folded: str, named: Sequence[Mention]) -> Iterator[tuple[int, int]]:
    """From the first to the last place of each title or word that is repeated beyond prose."""
    by_title: dict[int, list[Mention]] = {}
    for mention in named:
        by_title.setdefault(mention.candidate, []).append(mention)
    for places in by_title.values():
        letters = sum(place.end - place.start for place in places)
        if len(places) >= TITLE_TIMES and letters >= TITLE_SHARE * len(folded):
            yield places[0].start, places[-1].end
    words = _WORD.findall(folded)
    for word, times in Counter(words).most_common(3):
        if len(word) >= 4 and times >= WORD_TIMES and times >= WORD_SHARE * len(words):
            yield folded.find(word), folded.rfind(word) + len(word)
