"""Results as services give them, made pages: what cannot be used is left out, what comes twice is kept once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from webrec.errors import SearchError
from webrec.tools.page import Page

MOST_RESULTS = 200
"""Of an answer: more than any service gives, and a hostile one could keep the event loop busy with millions."""


def pages_of(
    provider: str, results: Any, limit: int, fields: Callable[[Mapping[str, Any]], Mapping[str, Any]]
) -> list[Page]:
    """At most `limit` pages in the order of `results`, which should be a list of JSON objects.

    `fields`: the `Page` fields of one result, of any type; what does not fit a field becomes empty. Raises `SearchError`
    (`lost`) if `results` is no list, or none of its members can be used: that is not the same as finding nothing.
    """
    if not isinstance(results, list):
        raise SearchError(f"{provider} answered without a list of results", lost=True)
    looked_at = results[: max(MOST_RESULTS, 2 * limit)]
    made = [_page(provider, fields(result)) for result in looked_at if isinstance(result, dict)]
    pages = distinct(page for page in made if page.title or page.url or page.snippet)
    if results and not pages:
        raise SearchError(f"{provider} answered results of an unknown shape", lost=True)
    return pages[:limit]


def _page(provider: str, fields: Mapping[str, Any]) -> Page:
    # Page's validators take anything for text: what is not text becomes the empty string.
    return Page.model_validate({**fields, "provider": provider, "score": _number(fields.get("score"))})


def _number(value: Any) -> float | None:
    """`value` if it is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def distinct(pages: Iterable[Page]) -> list[Page]:
    """The pages without those whose address, or whole text, an earlier one has."""
    kept: list[Page] = []
    seen: set[str | tuple[str, str]] = set()
    for page in pages:
        marks: set[str | tuple[str, str]] = {(page.title, page.snippet)} if page.title or page.snippet else set()
        if page.url:
            marks.add(page.url.partition("#")[0])
        if not marks & seen:
            kept.append(page)
        seen |= marks
    return kept
