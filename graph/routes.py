"""Which node comes next: the conditional edges of the graph, as pure functions of state and settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from langgraph.types import Send

from webrec.nodes.collect import next_fallback
from webrec.nodes.context import RunContext
from webrec.nodes.query_strategies import QueryStrategy, query_of, strategy_of
from webrec.nodes.state import SearchTask, State
from webrec.tools.providers.registry import resolve_names


def after_prepare(
    context: RunContext, strategies: Mapping[str, QueryStrategy]
) -> Literal["reason", "extract", "augment"]:
    """Retrieval off goes straight to the prompt; a strategy that asks the backbone nothing skips reasoning."""
    strategy = strategy_of(context, strategies)
    if strategy is None:
        return "augment"
    return "extract" if strategy.question is None else "reason"


def after_extract(state: State, context: RunContext) -> list[Send] | Literal["augment"]:
    """One search per provider, side by side; no keyword, no search."""
    query = query_of(state)
    if not query:
        return "augment"
    names = resolve_names(context)
    only = len(names) == 1 and not context.fallback
    return [_search(name, query, only, context) for name in names]


def after_collect(state: State, context: RunContext) -> list[Send] | Literal["fetch", "sift", "augment"]:
    """The next fallback where every provider failed; else what was found is sifted, after fetching where it is on."""
    fallback = next_fallback(state["searches"], context)
    if fallback is not None:
        return [_search(fallback, query_of(state), False, context)]
    if not state["pages"]:
        return "augment"
    return "fetch" if context.fetch_pages else "sift"


def after_sift(state: State, context: RunContext) -> Literal["rerank", "augment"]:
    """Re-ranking where it is on and there is something to rank."""
    return "rerank" if context.rerank and state["pages"] else "augment"


def after_score(context: RunContext) -> Literal["fuse", "__end__"]:
    """The crowd has its say where one is set."""
    return "fuse" if context.crowd is not None else "__end__"


def _search(name: str, query: str, only: bool, context: RunContext) -> Send:
    settings = context.model_dump(mode="json")
    return Send("search", SearchTask(provider=name, query=query, only=only, settings=settings))
