"""Passages that read like instructions to a model, found by patterns: a warning for the reader, not a proof of anything."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from webrec.tools.reading.candidate_names import Mention, fold, mentions
from webrec.tools.reading.gibberish import encoded_runs, symbol_runs
from webrec.tools.reading.instruction_patterns import RULES, Rule
from webrec.tools.reading.stuffing import stuffed

Where = Literal["title", "text"]
MOST_PER_KIND = 3
"""Passages of one kind that are reported of one title or text."""

NAME_WITHIN = 60
"""Characters after a match within which a candidate's title must begin where the rule asks for one."""

EXCERPT = 120
_PATTERNS = tuple((rule, tuple(re.compile(pattern) for pattern in rule.patterns)) for rule in RULES)


@dataclass(frozen=True)
class Flag:
    """A passage of a page's title or text: characters `start` to `end`, and an excerpt of at most 120 characters."""

    kind: str
    start: int
    end: int
    excerpt: str
    where: Where = "text"


def flags(page_title: str, page_text: str, candidates: Sequence[str]) -> tuple[Flag, ...]:
    """Passages that read like instructions to the model, in order of place, the title's before the text's.

    Kinds: those of `webrec.tools.reading.instruction_patterns.RULES`, `stuffing` (a candidate's title, or one word, more
    often than prose has it) and `gibberish` (brackets and symbols as optimised strings have them). Both texts are expected
    as `webrec.tools.text_safety.clean` leaves them. Time grows with the length of the texts and the number of candidates.
    """
    parts: tuple[tuple[Where, str], ...] = (("title", page_title), ("text", page_text))
    return tuple(flag for where, text in parts for flag in _flags_of(text, where, candidates))


def _flags_of(text: str, where: Where, candidates: Sequence[str]) -> list[Flag]:
    folded = fold(text)
    named = mentions(folded, text, candidates)
    spans = [(rule.kind, start, end) for rule, start, end in _matches(folded, named)]
    spans += [("encoded", start, end) for start, end in encoded_runs(text)]
    spans += [("gibberish", start, end) for start, end in symbol_runs(text)]
    if where == "text":  # a title that only holds the candidate's title is what titles are
        spans += [("stuffing", start, end) for start, end in stuffed(folded, named)]
    found: list[Flag] = []
    counts: dict[str, int] = {}
    for kind, start, end in sorted(spans, key=lambda span: (span[1], span[2], span[0])):
        if counts.setdefault(kind, 0) < MOST_PER_KIND:
            counts[kind] += 1
            found.append(Flag(kind, start, end, text[start : min(end, start + EXCERPT)], where))
    return found


def _matches(folded: str, named: Sequence[Mention]) -> Iterator[tuple[Rule, int, int]]:
    starts = [mention.start for mention in named]
    for rule, patterns in _PATTERNS:
        for pattern in patterns:
            reported = 0
            for match in pattern.finditer(folded):
                end = match.end()
                if rule.names_candidate:
                    place = bisect_left(starts, match.end())
                    if place == len(starts) or starts[place] > match.end() + NAME_WITHIN:
                        continue
                    end = named[place].end
                yield rule, match.start(), end
                reported += 1
                if reported == MOST_PER_KIND:
                    break
