"""Which node comes next: the conditional edges of the graph, as pure functions of state and settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from langgraph.types import Send

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
    settings = context.model_dump(mode="json")
    return [
        Send("search", SearchTask(provider=name, query=query, only=len(names) == 1, settings=settings))
        for name in names
    ]


def after_collect(state: State, context: RunContext) -> Literal["rerank", "augment"]:
    """Re-ranking where it is on and there is something to rank."""
    return "rerank" if context.rerank and state["pages"] else "augment"
