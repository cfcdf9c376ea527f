"""What can be wrong with every call of a tool or server, told to whoever makes it and not to the model that calls it."""

from __future__ import annotations

from webrec.errors import ConfigurationError
from webrec.graph.build import Graph
from webrec.models.backbone import require_model_extra
from webrec.nodes.context import RunContext
from webrec.nodes.query_strategies import BUILTIN as STRATEGIES
from webrec.nodes.query_strategies import strategy_of
from webrec.tools.completions import decoder_address
from webrec.tools.fetching.extraction import require_fetch_extra
from webrec.tools.providers.registry import fallback_names, open_provider, resolve_names
from webrec.tools.ranking.faiss_rerank import require_rerank_extra
from webrec.tools.reading.leakage import LeakageRules


def check_settings(context: RunContext, graph: Graph | None) -> None:
    """Raise `ConfigurationError` for settings with which no call could succeed. Models, adapter and crowd are not loaded for it.

    Of a `graph` of one's own only that it does not pause, and what no graph could use: its nodes, providers and strategies are known
    to it alone, and looked at by each call.
    """
    refuse_pauses(graph)
    LeakageRules.of(context)
    decoder_address(context)
    if graph is not None:
        return
    require_model_extra()
    if context.rerank:
        require_rerank_extra()
    if context.fetch_pages:
        require_fetch_extra()
    if strategy_of(context, STRATEGIES) is not None:
        for name in [*resolve_names(context), *fallback_names(context)]:
            open_provider(name, context)


def refuse_pauses(graph: Graph | None) -> None:
    """Raise `ConfigurationError` for a graph that pauses: a call cannot go on."""
    if graph is not None and (graph.interrupt_before_nodes or graph.interrupt_after_nodes):
        raise ConfigurationError(
            "graph: it pauses, and a call cannot go on; build one without interrupts, or invoke it yourself"
        )
