"""Which texts nearly repeat a better-placed one."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Sequence
from itertools import chain

SHINGLE = 5
"""Words in a row that are compared; in scripts without spaces between words, characters."""

SAMPLE = 400
"""Of a longer text, so many shingles are looked up, chosen by hash: the share found is then right within some 2 points."""

# Thai and Lao, Burmese, Khmer, Japanese syllables, Chinese characters.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")


def near_duplicates(texts: Sequence[str], threshold: float = 0.8) -> list[int | None]:
    """For each text, best first, the index of the better-placed text that it nearly repeats, else None.

    A text nearly repeats another if at least `threshold` of its distinct shingles are in it: a short copy of a part
    counts, a long text that holds a short one does not, as it says more. Only texts that repeat nothing themselves are
    compared with, so of a chain of ever less similar texts not all fall. A text without a word repeats nothing.
    """
    holders: dict[int, list[int]] = {}
    repeated: list[int | None] = []
    for place, text in enumerate(texts):
        shingles = _shingles(text)
        looked_up = sorted(shingles)[:SAMPLE]
        counts = Counter(chain.from_iterable(holders.get(s, ()) for s in looked_up))
        best = min(counts, key=lambda other: (-counts[other], other), default=None)
        if best is not None and counts[best] >= threshold * len(looked_up):
            repeated.append(best)
            continue
        repeated.append(None)
        for shingle in shingles:
            holders.setdefault(shingle, []).append(place)
    return repeated


def _shingles(text: str) -> set[int]:
    """Hashes of the text's shingles, the same in every process; one of all words if they are fewer than a shingle's."""
    words = [zlib.crc32(word.encode("utf-8", "replace")) for word in _WORD.findall(text.casefold())]
    if not words:
        return set()
    # A tuple of integers, unlike a string, has the same hash in every process.
    return set(map(hash, zip(*(words[n:] for n in range(SHINGLE)), strict=False))) or {hash(tuple(words))}
