"""`recommend` and `arecommend`: the graph as one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from webrec.graph.build import Graph
from webrec.nodes.context import make_context
from webrec.nodes.run import run_blocking
from webrec.nodes.schema import Recommendation

Progress = Callable[[dict[str, Any]], None]


async def arecommend(
    history: Sequence[str],
    candidates: Sequence[str],
    *,
    graph: Graph | None = None,
    on_progress: Progress | None = None,
    **settings: Any,
) -> Recommendation:
    """Rank `candidates` for a user who took `history` (oldest first).

    `settings` are the fields of `RunContext`. `graph` is one of your own making (`build_graph`), the standard one if
    None. `on_progress` receives events `{node, event, …}` as they happen. Cancelling stops the work.

    Raises `InputError` (wrong titles or settings), `SearchError` (every provider failed), `BackboneError`.
    """
    context = make_context(settings)
    if graph is None:
        from webrec.graph.app import graph as standard

        graph = standard
    result: dict[str, Any] = {}
    inputs: Any = {"history": _listed(history), "candidates": _listed(candidates)}
    async for mode, part in graph.astream(inputs, context=context, stream_mode=["custom", "values"]):
        if mode == "values" and isinstance(part, dict):
            result = part
        elif on_progress is not None and isinstance(part, dict):
            on_progress(part)
    return Recommendation.model_validate(result)


def recommend(
    history: Sequence[str],
    candidates: Sequence[str],
    *,
    graph: Graph | None = None,
    on_progress: Progress | None = None,
    **settings: Any,
) -> Recommendation:
    """`arecommend` for code without an event loop; works inside one too, which it then blocks."""
    return run_blocking(arecommend(history, candidates, graph=graph, on_progress=on_progress, **settings))


def _listed(titles: Any) -> Any:
    """Any sequence of titles as a list; what is no sequence of titles goes on to the input check as it is."""
    return list(titles) if isinstance(titles, Sequence) and not isinstance(titles, str | bytes) else titles
