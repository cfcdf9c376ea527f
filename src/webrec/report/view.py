"""What the template shows of one recommendation, in words and finished numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from webrec.nodes.schema import PageEvidence, RankedCandidate, Reasoning, Recommendation
from webrec.report.compare import Change, Comparison
from webrec.report.heat import Heat, heat_of
from webrec.report.text import MOST_MARKED, Piece, Shown, keyword_spans, number, pieces, plural, shown
from webrec.tools.text_safety import normalised, safe_url

FOLD_AFTER = 50
"""Candidates beyond this many are folded away."""

STATES: dict[str, tuple[str, str]] = {
    "off": ("Off", "Retrieval was off: nothing was searched, and the ranking rests on the history alone."),
    "no_keywords": ("No keyword", "The reasoning held no keyword, so nothing was searched."),
    "no_pages": ("No page", "The search found no page, so the ranking rests on the history alone."),
    "left_out": ("Left out", "What the search found may not be read, so the ranking rests on the history alone."),
    "found": ("Found", "What the model read before it ranked, in the order of the prompt."),
}

LEFT_OUT = {
    "same_user": "written by the user",
    "not_before": "not dated before the time that counts",
    "undated": "without a date",
    "aggregate": "holds figures of a later crawl",
    "near_duplicate": "nearly repeats another page",
    "flagged": "reads like instructions",
}

STOPS = {
    "end": "The model ended here by itself.",
    "limit": "Writing stopped at the token limit.",
    "repetition": "Writing stopped as the text began to repeat itself.",
}


@dataclass(frozen=True)
class PageView:
    """A page in the prompt."""

    evidence: PageEvidence
    title: list[Piece]
    url: Shown
    link: str
    read: list[Piece]
    unread: list[Piece]
    read_share: float
    score: str
    similarity: str


@dataclass(frozen=True)
class CandidateView:
    """A row of the ranking. `width` is the bar in percent of the longest."""

    evidence: RankedCandidate
    title: Shown
    width: float
    target: bool
    change: Change | None


@dataclass(frozen=True)
class EntryView:
    """One tab of the page."""

    id: str
    title: Shown
    recommendation: Recommendation
    history: list[Shown]
    unused: list[Shown]
    state: str
    state_text: str
    heat: Heat | None
    stop_text: str
    stop_list: str
    language: str
    keywords: list[str]
    marked: bool
    pages: list[PageView]
    left_out: list[tuple[Shown, str, str]]
    candidates: list[CandidateView]
    target: Shown | None
    target_row: CandidateView | None
    compared_with: Shown | None
    even: float
    even_width: float
    settings: list[tuple[str, str]]


def entry_view(
    place: int,
    title: str,
    history: tuple[str, ...],
    recommendation: Recommendation,
    target: str | None,
    comparison: Comparison | None,
    title_of: Callable[[int], str],
) -> EntryView:
    """The view of entry number `place` (from 1); `title_of` names the entry that it is compared with."""
    used = max(0, min(recommendation.prompt.history_used, len(history)))
    titles = [shown(t) for t in history]
    reasoning = recommendation.reasoning
    state, state_text = STATES[recommendation.retrieval]
    if recommendation.retrieval == "found" and not recommendation.pages:
        state_text = "Pages were found, but none fitted into the prompt."
    candidates = _candidates(recommendation, target, comparison)
    even = 1 / len(candidates) if candidates else 0.0
    return EntryView(
        id=f"entry-{place}",
        title=shown(title),
        recommendation=recommendation,
        history=titles[len(titles) - used :],
        unused=titles[: len(titles) - used],
        state=state,
        state_text=state_text,
        heat=heat_of(reasoning, recommendation.keywords) if reasoning else None,
        stop_text=STOPS[reasoning.stop] if reasoning else "",
        stop_list=_stop_list(reasoning),
        language=_language(recommendation),
        keywords=recommendation.keywords if len(recommendation.keywords) <= MOST_MARKED else [],
        marked=len(recommendation.keywords) <= MOST_MARKED,
        pages=[_page(p, recommendation.keywords) for p in recommendation.pages],
        left_out=[(shown(p.title), p.provider, LEFT_OUT[p.reason]) for p in recommendation.left_out],
        candidates=candidates,
        target=shown(target) if target is not None else None,
        target_row=next((c for c in candidates if c.target), None),
        compared_with=shown(title_of(comparison.entry)) if comparison else None,
        even=even,
        even_width=_width(even, _longest(recommendation)),
        settings=[(name, _setting(value)) for name, value in recommendation.settings.items()],
    )


def _stop_list(reasoning: Reasoning | None) -> str:
    if reasoning is None or reasoning.stop_list is None:
        return "No stop list was used."
    if reasoning.stop_list.startswith("none"):
        language = reasoning.stop_list.partition(":")[2].strip()
        return f"There is no stop list for “{language}”, so no word was left out." if language else "No stop list."
    return f"Common words left out: stop list “{reasoning.stop_list}”."


def _language(recommendation: Recommendation) -> str:
    language = recommendation.settings.get("language")
    return language if isinstance(language, str) and re.fullmatch(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*", language) else ""


def _page(page: PageEvidence, keywords: list[str]) -> PageView:
    title = shown(page.title).text
    spans = keyword_spans(page.body, keywords)
    kept = max(0, min(page.kept, len(page.body)))
    return PageView(
        evidence=page,
        title=pieces(title, keyword_spans(title, keywords)),
        url=shown(page.url),
        link=safe_url(page.url),
        read=pieces(page.body, spans, 0, kept),
        unread=pieces(page.body, spans, kept),
        read_share=100 * kept / len(page.body) if page.body else 100.0,
        score=number(page.score),
        similarity=number(page.similarity),
    )


def _longest(recommendation: Recommendation) -> float:
    return max((c.probability for c in recommendation.ranking if math.isfinite(c.probability)), default=0.0)


def _width(probability: float, longest: float) -> float:
    if not math.isfinite(probability) or longest <= 0:
        return 0.0
    return round(100 * max(0.0, min(1.0, probability / longest)), 2)


def _candidates(
    recommendation: Recommendation, target: str | None, comparison: Comparison | None
) -> list[CandidateView]:
    wanted = {c.title for c in recommendation.ranking if c.title == target}
    if not wanted and target is not None:
        wanted = {c.title for c in recommendation.ranking if normalised(c.title) == normalised(target)}
    longest = _longest(recommendation)
    return [
        CandidateView(
            evidence=c,
            title=shown(c.title),
            width=_width(c.probability, longest),
            target=c.title in wanted,
            change=comparison.changes.get(c.title) if comparison else None,
        )
        for c in recommendation.ranking
    ]


def _setting(value: object) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{name}={number:g}" for name, number in value.items()) or "none"
    return str(value)


__all__ = ["FOLD_AFTER", "CandidateView", "EntryView", "PageView", "entry_view", "plural"]
