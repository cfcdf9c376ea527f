"""Keywords from the backbone's own tokens: score, pool, pick (Eq. 4-5)."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from webrec.models.words import Word


@dataclass(frozen=True)
class Keyword:
    """A picked word, with the pooled score of its best token."""

    word: Word
    score: float


def token_scores(influence: Sequence[float], ignorance: Sequence[float]) -> list[float]:
    """`s_i = s_att(i) · s_ent(i)` (Eq. 4)."""
    return [a * e for a, e in zip(influence, ignorance, strict=True)]


def pool(scores: Sequence[float], window: int) -> list[float]:
    """Average over a centred window of `window` tokens, stride 1, same length (Eq. 5).

    At both ends the average is over the tokens that exist, so an end is not penalised. An even window reaches one
    token further back than forward.
    """
    before, after = window // 2, (window - 1) // 2
    pooled = []
    for i in range(len(scores)):
        part = scores[max(0, i - before) : i + after + 1]
        pooled.append(sum(part) / len(part))
    return pooled


def pick_keywords(
    words: Sequence[Word], pooled: Sequence[float], count: int, stop_words: frozenset[str]
) -> list[Keyword]:
    """The `count` best words in order of appearance (Eq. 5).

    A word scores as its best token does; ties go to the earlier word. Stop words are dropped, and of words that
    differ in case only the best-scoring one is kept.
    """
    candidates = [Keyword(w, max(pooled[t] for t in w.tokens)) for w in words if _folded(w) not in stop_words]
    picked: dict[str, Keyword] = {}
    for keyword in sorted(candidates, key=lambda k: (-k.score, k.word.start)):
        if len(picked) == count:
            break
        picked.setdefault(_folded(keyword.word), keyword)
    return sorted(picked.values(), key=lambda k: k.word.start)


def _folded(word: Word) -> str:
    return unicodedata.normalize("NFC", word.text).casefold()


def stop_words(language: str) -> frozenset[str] | None:
    """Lower-case stop words of a two-letter language, or None if there is no list for it.

    Contractions are listed with either apostrophe ("it's", "it’s").
    """
    from stop_words import StopWordError, get_stop_words

    try:
        listed = get_stop_words(language)
    except StopWordError:
        return None
    words = {unicodedata.normalize("NFC", w).casefold() for w in listed}
    return frozenset(words | {w.replace("'", "’") for w in words})
