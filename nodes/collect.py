"""collect: join what the searches found into one list of pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from webrec.errors import SearchError
from webrec.nodes.context import RunContext
from webrec.nodes.query_strategies import query_of
from webrec.nodes.run import Run, Update
from webrec.nodes.schema import PageEvidence
from webrec.nodes.state import State
from webrec.nodes.warnings import warn
from webrec.tools.providers.registry import fallback_names, resolve_names


def collect(state: State, run: Run) -> Update:
    """Write `pages`: providers take turns by rank, an address or text found twice is kept once.

    Raises `SearchError` if every provider failed, those of `fallback` included.
    """
    first = resolve_names(run.context)
    names = [*first, *fallback_names(run.context, run.resources.providers)]
    places = {name: place for place, name in reversed(list(enumerate(names)))}
    # A run that goes on with other providers has the answers of those that it began with: they come last.
    results = sorted(
        _of_this_round(state["results"], first, names), key=lambda r: places.get(r["outcome"]["provider"], len(names))
    )
    searches = [r["outcome"] for r in results]
    errors = [s["error"] for s in searches if s["error"]]
    if every_search_failed(searches) and next_fallback(searches, run.context) is None:
        raise SearchError(f"every search failed: {'; '.join(errors)}")
    pages = interleave([r["pages"] for r in results])
    return {
        "query": query_of(state),
        "searches": searches,
        "pages": pages,
        "left_out": [],
        "retrieval": "found" if pages else "no_pages",
        **warn(
            state,
            "collect",
            [] if every_search_failed(searches) else [f"{e}; the other providers' pages were used" for e in errors],
        ),
    }


def _of_this_round(results: list[dict[str, Any]], first: Sequence[str], names: Sequence[str]) -> list[dict[str, Any]]:
    """`results`, the oldest first, less what a fallback answered before the providers were asked anew."""
    asked = [result["outcome"]["provider"] for result in results]
    last = max((place for place, name in enumerate(asked) if name in first), default=-1)
    return [r for place, r in enumerate(results) if place > last or asked[place] in first or asked[place] not in names]


def every_search_failed(searches: list[dict[str, Any]]) -> bool:
    """Whether there were searches and none was answered."""
    return bool(searches) and all(s["error"] for s in searches)


def next_fallback(searches: list[dict[str, Any]], context: RunContext) -> str | None:
    """The provider to ask now that all asked so far have failed, if the settings name one."""
    if not every_search_failed(searches):
        return None
    asked = {s["provider"] for s in searches}
    return next((name for name in context.fallback if name not in asked), None)


def interleave(lists: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """One list of `PageEvidence` from several of `Page`, as dumps: by rank in turns, nothing empty and nothing twice."""
    pages: list[dict[str, Any]] = []
    seen: set[str] = set()
    for place in range(max((len(found) for found in lists), default=0)):
        for found in lists:
            if place >= len(found):
                continue
            page = found[place]
            marks = {m for m in (page["url"], page["title"] + "\n" + page["snippet"]) if m.strip()}
            if not marks or marks & seen:
                continue
            seen |= marks
            pages.append(PageEvidence(**page, rank=len(pages) + 1, found_rank=place + 1).model_dump())
    return pages
