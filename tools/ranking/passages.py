"""Long texts in passages that a sentence encoder can read whole."""

from __future__ import annotations

from webrec.tools.reading.sentences import cut_at_sentence

PASSAGE = 1_000
"""Characters of a passage: about 200 English words, within the 256 tokens of MiniLM."""

MOST = 8
"""Passages of one text that are compared; what comes after them is not."""


def passages(text: str) -> list[str]:
    """`text` in consecutive passages of at most `PASSAGE` characters, ended at sentences, at most `MOST`; one at least."""
    found: list[str] = []
    rest = text.strip()
    while rest and len(found) < MOST:
        # A slice, so that every passage costs the same however long the text is.
        passage = cut_at_sentence(rest[: PASSAGE + 1], PASSAGE)
        found.append(passage)
        rest = rest[len(passage) :].lstrip()
    return found or [""]
