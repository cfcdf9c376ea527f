"""The reasoning text, cut into what its tokens cover, with each token's heat in four views."""

from __future__ import annotations

import math
from dataclasses import dataclass

from webrec.nodes.schema import Reasoning, TokenEvidence
from webrec.report.text import number, reveal

LEVELS = 20


@dataclass(frozen=True)
class View:
    """One way to colour the tokens. Heat runs from 0 to `top`, the highest value, in even steps."""

    name: str
    label: str
    about: str
    unit: str = ""
    top: float = 0.0

    @property
    def available(self) -> bool:
        """Whether any token has this number."""
        return self.top > 0

    @property
    def top_text(self) -> str:
        """The number that the strongest colour stands for."""
        return number(self.top) + self.unit


VIEWS = (
    View("attention", "Attention", "How strongly a later token looked back at this one (Eq. 2)."),
    View("entropy", "Entropy", "How unsure the model was when it chose this token (Eq. 3).", " nats"),
    View("score", "Product", "Attention × entropy: what mattered and was not known (Eq. 4)."),
    View(
        "pooled", "Pooled", "The product, averaged over neighbouring tokens; the best words become the query (Eq. 5)."
    ),
)


@dataclass(frozen=True)
class Token:
    """A token's numbers as shown, and its heat per view in percent of the view's highest ('-' where it has none)."""

    text: str
    word: str
    keyword: bool
    numbers: tuple[str, ...]
    percents: tuple[int | None, ...]

    @property
    def data(self) -> str:
        """The percents for the script, view by view."""
        return " ".join("-" if p is None else str(p) for p in self.percents)


@dataclass(frozen=True)
class Segment:
    """Characters that one or more tokens cover (`tokens`: their indices, none for text outside every token)."""

    text: str
    tokens: tuple[int, ...] = ()
    level: int = 0

    @property
    def data(self) -> str:
        """The token indices for the script."""
        return " ".join(map(str, self.tokens))


@dataclass(frozen=True)
class Group:
    """Segments side by side; those of one picked keyword share a group that carries its place in the query."""

    segments: tuple[Segment, ...]
    keyword: str | None = None
    place: int | None = None


@dataclass(frozen=True)
class Heat:
    """Everything that the reasoning section draws."""

    views: tuple[View, ...]
    default: int
    tokens: tuple[Token, ...]
    groups: tuple[Group, ...]


def heat_of(reasoning: Reasoning, keywords: list[str]) -> Heat:
    """The drawing of `reasoning`; its groups' texts, joined, are the revealed text, each character once."""
    rows = [[getattr(t, v.name) for v in VIEWS] for t in reasoning.tokens]
    tops = [max((r[n] for r in rows if _is_number(r[n])), default=0.0) for n in range(len(VIEWS))]
    views = tuple(View(v.name, v.label, v.about, v.unit, top) for v, top in zip(VIEWS, tops, strict=True))
    default = next((n for n in (2, 3, 0, 1) if views[n].available), 2)
    tokens = tuple(_token(reasoning.text, t, r, tops) for t, r in zip(reasoning.tokens, rows, strict=True))
    places = {word: n for n, word in reversed(list(enumerate(keywords, 1)))}
    return Heat(views, default, tokens, tuple(_groups(reasoning, tokens, default, places)))


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _token(text: str, token: TokenEvidence, row: list[float | None], tops: list[float]) -> Token:
    return Token(
        text=reveal(text[max(0, token.start) : max(0, token.end)].replace("\n", "↵")),
        word=reveal(token.word or ""),
        keyword=token.keyword,
        numbers=tuple(number(v) for v in row),
        percents=tuple(
            round(100 * min(1.0, max(0.0, v) / top)) if v is not None and math.isfinite(v) and top > 0 else None
            for v, top in zip(row, tops, strict=True)
        ),
    )


def _cuts(reasoning: Reasoning) -> list[tuple[int, int, list[int]]]:
    """The text cut into [start, end) with the tokens there; a token inside what came before joins its neighbour."""
    text = reasoning.text
    cuts: list[tuple[int, int, list[int]]] = []
    cursor = 0
    for index, token in enumerate(reasoning.tokens):
        start, end = min(max(cursor, token.start), len(text)), min(token.end, len(text))
        if end <= start:
            if cuts:
                cuts[-1][2].append(index)
            continue
        first = start + len(text[start:end]) - len(text[start:end].lstrip())
        start = first if first < end else start  # white space before a word stays uncoloured
        if start > cursor:
            cuts.append((cursor, start, []))
        cuts.append((start, end, [index]))
        cursor = end
    if cursor < len(text):
        cuts.append((cursor, len(text), []))
    return cuts


def _groups(reasoning: Reasoning, tokens: tuple[Token, ...], view: int, places: dict[str, int]) -> list[Group]:
    groups: list[Group] = []
    for start, end, members in _cuts(reasoning):
        level = max((tokens[i].percents[view] or 0 for i in members), default=0)
        segment = Segment(reveal(reasoning.text[start:end]), tuple(members), round(level * LEVELS / 100))
        word = next((reasoning.tokens[i].word or "" for i in members if reasoning.tokens[i].keyword), None)
        if word is not None and groups and groups[-1].keyword == word:
            groups[-1] = Group((*groups[-1].segments, segment), word, groups[-1].place)
        else:
            groups.append(Group((segment,), word, places.get(word) if word is not None else None))
    return groups
