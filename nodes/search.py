"""search: ask one provider; the graph runs one of these per provider, side by side."""

from __future__ import annotations

import asyncio

from webrec.errors import SearchError
from webrec.nodes.run import Run, Update
from webrec.nodes.schema import SearchOutcome
from webrec.nodes.state import SearchTask
from webrec.tools.providers.registry import open_provider
from webrec.tools.text_safety import clean


async def search(task: SearchTask, run: Run) -> Update:
    """Add the provider's pages to `results`.

    A failure is recorded, and the others' pages are used; the only provider's failure is raised (`SearchError`), so
    that resuming the run asks again.
    """
    context = run.context
    provider = await asyncio.to_thread(open_provider, task["provider"], context, run.resources.providers)
    query = _cut(clean(task["query"]), provider.query_limit)
    error = None
    pages = []
    try:
        async with asyncio.timeout(context.search_seconds):
            limit = context.rerank_pool if context.rerank else context.pages
            pages = (await provider.search(query, limit))[:limit]
    except TimeoutError:
        error = f"{task['provider']} did not answer within {context.search_seconds:g} s"
    except SearchError as failure:
        error = str(failure)
    if error and task["only"]:
        raise SearchError(f"{error}; nothing was searched")
    outcome = SearchOutcome(provider=task["provider"], query=query, found=len(pages), error=error)
    run.emit("searched", provider=task["provider"], found=len(pages), error=error)
    return {"results": [{"outcome": outcome.model_dump(), "pages": [page.model_dump() for page in pages]}]}


def _cut(query: str, limit: int | None) -> str:
    """At most `limit` characters, cut before a word."""
    if limit is None or len(query) <= limit:
        return query
    head = query[: limit + 1]
    return head.rsplit(" ", 1)[0] if " " in head else query[:limit]
