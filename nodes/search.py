"""search: ask one provider; the graph runs one of these per provider, side by side."""

from __future__ import annotations

import asyncio

from webrec.errors import SearchError
from webrec.nodes.context import RunContext
from webrec.nodes.run import Run, Update
from webrec.nodes.schema import SearchOutcome
from webrec.nodes.state import SearchTask
from webrec.tools.providers.registry import open_provider
from webrec.tools.searching.searcher import ask
from webrec.tools.text_safety import clean


async def search(task: SearchTask, run: Run) -> Update:
    """Add the provider's pages to `results`.

    A failure is recorded, and the others' pages are used; the only provider's failure is raised (`SearchError`), so
    that resuming the run asks again.
    """
    context = run.context
    provider = await asyncio.to_thread(open_provider, task["provider"], context, run.resources.providers)
    query = _cut(clean(task["query"]), provider.query_limit)
    outcome = SearchOutcome(provider=task["provider"], query=query, found=0)
    pages = []
    try:
        answer = await ask(provider, query, pool_size(context), context)
        pages = list(answer.pages)
        outcome = SearchOutcome(
            provider=task["provider"],
            query=query,
            found=len(pages),
            attempts=answer.attempts,
            waited=round(answer.waited, 3),
            cost_units=answer.cost_units,
            possibly_billed=answer.possibly_billed,
            recorded=answer.recorded,
            from_record=answer.from_record,
        )
    except SearchError as failure:
        if task["only"]:
            # Not this very object: others that asked the same wait for it.
            raise failure.again(f"{failure}; nothing was searched") from failure
        outcome.error = str(failure)
    run.emit("searched", provider=task["provider"], found=len(pages), error=outcome.error)
    return {"results": [{"outcome": outcome.model_dump(), "pages": [page.model_dump() for page in pages]}]}


def pool_size(context: RunContext) -> int:
    """Pages asked of each provider: more than are read where some will be chosen from them or must be left out."""
    wanted = context.rerank_pool if context.rerank else context.pages
    guarded = context.pages_before is not None or context.pages_not_by is not None or not context.crawl_aggregates
    return min(wanted * 3, 200) if guarded else wanted


def _cut(query: str, limit: int | None) -> str:
    """At most `limit` characters, cut before a word."""
    if limit is None or len(query) <= limit:
        return query
    head = query[: limit + 1]
    return head.rsplit(" ", 1)[0] if " " in head else query[:limit]
