"""`recommend` and `arecommend`: the graph as one call; `arecommend_many`: one call for many users."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from typing import Any

from webrec.errors import BusyError, ConfigurationError, InputError, SearchError, SpendingCapError
from webrec.graph.build import Graph
from webrec.nodes.context import make_context
from webrec.nodes.run import run_blocking
from webrec.nodes.schema import Recommendation

Progress = Callable[[dict[str, Any]], None]

CONCURRENCY = 16
"""Users that are under way at a time: more gain little, since a step for sixteen texts is bound by arithmetic already."""

MOST_STEPS = 100
"""Steps of one run, whatever the graph allows that calls it: eleven, and two for each fallback provider."""


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

    Raises `InputError` (wrong titles or settings), `SearchError` (every provider failed), `BackboneError`, `BusyError` (too many
    runs wait in this process: nothing was done, `retry_after` says how many seconds to wait), `ConfigurationError` for a `graph` that
    pauses. Nothing is written to a checkpointer, neither `graph`'s nor that of a graph whose node calls this.
    """
    context = make_context(settings)
    if graph is None:
        from webrec.graph.app import graph as standard

        graph = standard
    if graph.interrupt_before_nodes or graph.interrupt_after_nodes:
        raise ConfigurationError(
            "graph: it pauses, and a call cannot go on; build one without interrupts, or invoke it yourself"
        )
    alone = graph.copy(update={"checkpointer": False})  # in a node of another graph it would else use that one's
    result: dict[str, Any] = {}
    inputs: Any = {"history": _listed(history), "candidates": _listed(candidates)}
    steps: Any = {"recursion_limit": MOST_STEPS}
    async for mode, part in alone.astream(inputs, steps, context=context, stream_mode=["custom", "values"]):
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


async def arecommend_many(
    requests: Iterable[tuple[Sequence[str], Sequence[str]]],
    *,
    concurrency: int = CONCURRENCY,
    graph: Graph | None = None,
    on_progress: Callable[[int, dict[str, Any]], None] | None = None,
    on_failure: Callable[[int, InputError | SearchError], None] | None = None,
    **settings: Any,
) -> AsyncGenerator[tuple[int, Recommendation]]:
    """Each request's place and result, as they come; a request is `(history, candidates)`.

    At most `concurrency` are under way: what they write is computed together. `requests` is read no faster than results are taken.
    Where the process is busy with other runs, a request waits as long as `BusyError` says. `on_failure` hears place and error of a
    request that alone cannot be answered: its titles are wrong or too long, or its search failed. The others go on. Without it, and
    for whatever concerns them all (settings, weights, a spending cap), the first error ends all, once what was ready is handed out.
    Raises what `arecommend` and `on_failure` raise.
    """
    under_way: dict[asyncio.Task[Recommendation], int] = {}
    waiting = enumerate(requests)

    def begin() -> None:
        for place, (history, candidates) in islice(waiting, max(1, concurrency) - len(under_way)):
            heard = None if on_progress is None else partial(on_progress, place)
            work = _once_admitted(history, candidates, graph=graph, on_progress=heard, **settings)
            under_way[asyncio.create_task(work)] = place

    try:
        begin()
        while under_way:
            done, _ = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            for task in sorted(done, key=_failed):
                place = under_way.pop(task)
                try:
                    result = task.result()
                except (InputError, SearchError) as error:
                    if on_failure is None or isinstance(error, ConfigurationError | SpendingCapError):
                        raise
                    on_failure(place, error)
                else:
                    yield place, result
            begin()
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


def _failed(task: asyncio.Task[Recommendation]) -> bool:
    return task.cancelled() or task.exception() is not None


async def _once_admitted(history: Sequence[str], candidates: Sequence[str], **options: Any) -> Recommendation:
    while True:
        try:
            return await arecommend(history, candidates, **options)
        except BusyError as busy:
            await asyncio.sleep(busy.retry_after)


def _listed(titles: Any) -> Any:
    """Any sequence of titles as a list; what is no sequence of titles goes on to the input check as it is."""
    return list(titles) if isinstance(titles, Sequence) and not isinstance(titles, str | bytes) else titles
