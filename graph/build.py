"""The state machine: prepare → reason → extract → search, one per provider → collect → fetch → sift → rerank → augment → score → fuse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime, get_runtime
from langgraph.types import Send

from webrec.graph import routes
from webrec.graph.checks import check_nodes, check_providers, check_strategies
from webrec.nodes.augment import augment
from webrec.nodes.collect import collect
from webrec.nodes.context import RunContext, effective_context
from webrec.nodes.extract import extract
from webrec.nodes.fetch import fetch
from webrec.nodes.fuse import fuse
from webrec.nodes.prepare import prepare
from webrec.nodes.query_strategies import BUILTIN as BUILTIN_STRATEGIES
from webrec.nodes.query_strategies import QueryStrategy
from webrec.nodes.reason import reason
from webrec.nodes.rerank import rerank
from webrec.nodes.run import NodeFunction, Resources, as_node
from webrec.nodes.schema import Recommendation, RecommendInput
from webrec.nodes.score import score
from webrec.nodes.search import search
from webrec.nodes.sift import sift
from webrec.nodes.state import SearchTask, State
from webrec.tools.providers.registry import BUILTIN as BUILTIN_PROVIDERS
from webrec.tools.providers.registry import ProviderFactory

NODES: Mapping[str, NodeFunction] = {
    "prepare": prepare,
    "reason": reason,
    "extract": extract,
    "search": search,
    "collect": collect,
    "fetch": fetch,
    "sift": sift,
    "rerank": rerank,
    "augment": augment,
    "score": score,
    "fuse": fuse,
}

Graph = CompiledStateGraph[State, RunContext, RecommendInput, Recommendation]


def build_graph(
    *,
    nodes: Mapping[str, NodeFunction] | None = None,
    providers: Mapping[str, ProviderFactory] | None = None,
    query_strategies: Mapping[str, QueryStrategy] | None = None,
    checkpointer: Any = None,
    interrupt_before: list[str] | None = None,
) -> Graph:
    """Compile the graph.

    `nodes` replaces nodes by name; `providers` and `query_strategies` are added to the built-in ones (the same name
    replaces). `checkpointer` and `interrupt_before` are LangGraph's. Raises `ConfigurationError` for an unknown node, and
    for a node, provider or strategy that cannot be one.
    """
    replaced = dict(nodes or {})
    check_nodes(replaced, NODES)
    check_providers(providers or {})
    check_strategies(query_strategies or {})
    resources = Resources(
        {**BUILTIN_PROVIDERS, **(providers or {})},
        {**BUILTIN_STRATEGIES, **(query_strategies or {})},
        frozenset(replaced),
    )

    def after_prepare(state: State) -> str:
        return routes.after_prepare(_context(state), resources.strategies)

    def after_extract(state: State) -> list[Send] | str:
        return routes.after_extract(state, _context(state))

    def after_collect(state: State) -> list[Send] | str:
        return routes.after_collect(state, _context(state))

    def after_sift(state: State) -> str:
        return routes.after_sift(state, _context(state))

    def after_score(state: State) -> str:
        return routes.after_score(_context(state))

    builder = StateGraph(State, context_schema=RunContext, input_schema=RecommendInput, output_schema=Recommendation)
    for name, function in {**NODES, **replaced}.items():
        schema: Any = SearchTask if name == "search" else State
        builder.add_node(name, as_node(name, function, resources), input_schema=schema)
    builder.add_edge(START, "prepare")
    builder.add_conditional_edges("prepare", after_prepare, ["reason", "extract", "augment"])
    builder.add_edge("reason", "extract")
    builder.add_conditional_edges("extract", after_extract, ["search", "augment"])
    builder.add_edge("search", "collect")
    builder.add_conditional_edges("collect", after_collect, ["search", "fetch", "sift", "augment"])
    builder.add_edge("fetch", "sift")
    builder.add_conditional_edges("sift", after_sift, ["rerank", "augment"])
    builder.add_edge("rerank", "augment")
    builder.add_edge("augment", "score")
    builder.add_conditional_edges("score", after_score, ["fuse", END])
    builder.add_edge("fuse", END)
    return builder.compile(checkpointer=checkpointer, interrupt_before=interrupt_before, name="webrec")


def _context(state: State) -> RunContext:
    """What a conditional edge goes by: LangGraph has no runtime for it where a state is edited (`update_state`)."""
    runtime: Runtime[RunContext] | None = get_runtime(RunContext)
    return effective_context(runtime.context if runtime is not None else None, state)
