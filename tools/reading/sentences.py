"""Cutting a text where a sentence ends."""

from __future__ import annotations

import re

# One or more marks, quotes and brackets that close after them; what follows is judged in `_ends_sentence`.
_MARKS = re.compile(r"[.!?…؟।॥。！？｡]+[\"'”’»›)\]}」』）】〉》]*")
_NO_SPACE_NEEDED = frozenset("。！？｡")
_WORD_BEFORE = re.compile(r"[^\W\d_]+\Z")
_WORD_END = re.compile(r"\S(?=\s)")
_NEXT = re.compile(r"\s*(\S?)")
_LONGEST_ABBREVIATION = 12

_LISTED = (
    # English, then German, French, Spanish and Italian; compared without case.
    "mr mrs ms dr prof rev hon gen col capt lt sgt sen rep gov pres st mt ft ave blvd rd sr jr vs etc eg ie cf al approx "
    "no nos vol vols fig figs pp ed eds inc ltd co corp dept est min max tel ext jan feb mar apr jun jul aug sep sept oct "
    "nov dec bzw ca nr str usw ggf inkl evtl hr fr abs bd mme mlle env chap sra srta dott ecc"
)
_ABBREVIATIONS = frozenset(_LISTED.split())


def cut_at_sentence(text: str, end: int) -> str:
    """The longest prefix of at most `end` characters that ends with a sentence; the whole text if it is no longer.

    Where that would keep less than a third of `end`, the prefix ends with a word, and where words are so long that this
    keeps less than a third, at `end`. Nothing is appended. Of two ends the larger never keeps less.
    """
    if len(text) <= end:
        return text
    if end <= 0:
        return ""
    sentence = _last_sentence_end(text, end)
    if 3 * sentence >= end:
        return text[:sentence]
    word = max(sentence, _last_word_end(text, end))
    return text[: word if 3 * word >= end else end]


def _last_sentence_end(text: str, end: int) -> int:
    last = 0
    for found in _MARKS.finditer(text, 0, end + 1):
        if found.end() <= end and _ends_sentence(text, found.start(), found.end()):
            last = found.end()
    return last


def _ends_sentence(text: str, start: int, after: int) -> bool:
    if text[start] in _NO_SPACE_NEEDED:
        return True
    following = text[after : after + 1]
    if following and not following.isspace():
        return False  # 3.14, example.com, or a mark that goes on behind what was looked at
    if text[start] not in ".…":
        return True
    upcoming = _NEXT.match(text, after)
    if upcoming and upcoming[1].islower():
        return False
    word = _WORD_BEFORE.search(text, max(0, start - _LONGEST_ABBREVIATION), start)
    # A letter alone is an initial or the end of "U.S." and "e.g."; the pronoun I does end sentences.
    return word is None or not (word[0].casefold() in _ABBREVIATIONS or (len(word[0]) == 1 and word[0] != "I"))


def _last_word_end(text: str, end: int) -> int:
    last = 0
    for found in _WORD_END.finditer(text, 0, end + 1):
        last = found.end()
    return last
