"""`recommend` and `arecommend`: the graph as one call; `arecommend_many`: one call for many users."""

from __future__ import annotations

import asyncio
import inspect
import operator
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from functools import partial
from typing import Any

from webrec.early_checks import refuse_pauses
from webrec.errors import BusyError, ConfigurationError, InputError, SearchError, SpendingCapError
from webrec.given import context_of, listed
from webrec.graph.build import Graph
from webrec.incoming import Incoming, Request, titles_of
from webrec.nodes.context import RunContext
from webrec.nodes.run import run_blocking
from webrec.nodes.schema import Recommendation

Progress = Callable[[dict[str, Any]], Awaitable[None] | None]

CONCURRENCY = 16
"""Users that are under way at a time: more gain little, since a step for sixteen texts is bound by arithmetic already."""

MOST_STEPS = 100
"""Steps of one run, whatever the graph allows that calls it: eleven, and two for each fallback provider."""


async def arecommend(
    history: Iterable[str],
    candidates: Iterable[str],
    *,
    context: RunContext | None = None,
    graph: Graph | None = None,
    on_progress: Progress | None = None,
    **settings: Any,
) -> Recommendation:
    """Rank `candidates` for a user who took `history` (oldest first).

    `settings` are the fields of `RunContext`, and win over those of `context`. `graph` is one of your own making (`build_graph`), the
    standard one if None. `on_progress` receives events `{node, event, …}` as they happen, and is awaited if it is async. Cancelling
    stops the work.

    Raises `InputError` (wrong titles or settings), `SearchError` (every provider failed), `BackboneError`, `BusyError` (too many
    runs wait in this process: nothing was done, `retry_after` says how many seconds to wait), `ConfigurationError` for a `graph` that
    pauses. Nothing is written to a checkpointer, neither `graph`'s nor that of a graph whose node calls this.
    """
    whole = context_of(context, settings)
    refuse_pauses(graph)
    if graph is None:
        from webrec.graph.app import graph as standard

        graph = standard
    alone = graph.copy(update={"checkpointer": False})  # in a node of another graph it would else use that one's
    result: dict[str, Any] = {}
    inputs: Any = {"history": listed(history, ordered=True), "candidates": listed(candidates)}
    steps: Any = {"recursion_limit": MOST_STEPS}
    modes: Any = ["values"] if on_progress is None else ["values", "custom"]  # an event a token, for nobody, costs time
    async for mode, part in alone.astream(inputs, steps, context=whole, stream_mode=modes):
        if mode == "values" and isinstance(part, dict):
            result = part
        elif on_progress is not None and isinstance(part, dict):
            await _heard(on_progress(part))
    return Recommendation.model_validate(result)


def recommend(
    history: Iterable[str],
    candidates: Iterable[str],
    *,
    context: RunContext | None = None,
    graph: Graph | None = None,
    on_progress: Progress | None = None,
    **settings: Any,
) -> Recommendation:
    """`arecommend` for code without an event loop; works inside one too, which it then blocks."""
    return run_blocking(
        arecommend(history, candidates, context=context, graph=graph, on_progress=on_progress, **settings)
    )


async def arecommend_many(
    requests: Iterable[Request] | AsyncIterable[Request],
    *,
    concurrency: int = CONCURRENCY,
    context: RunContext | None = None,
    graph: Graph | None = None,
    on_progress: Callable[[int, dict[str, Any]], Awaitable[None] | None] | None = None,
    on_failure: Callable[[int, InputError | SearchError], Awaitable[None] | None] | None = None,
    **settings: Any,
) -> AsyncGenerator[tuple[int, Recommendation]]:
    """Each request's place and result, as they come; a request is `(history, candidates)`, a `RecommendInput` or a mapping with both.

    At most `concurrency` are under way: what they write is computed together. `requests` is read no faster than results are taken.
    Where the process is busy with other runs, a request waits as long as `BusyError` says. `on_failure` hears place and error of a
    request that alone cannot be answered: its titles are wrong or too long, or its search failed. The others go on. Without it the
    first error, which names the place, ends all, once what was ready is handed out; so does, in any case, whatever concerns them all
    (settings, weights, a spending cap). `context` and `settings` are those of `arecommend`. Raises what `arecommend` and `on_failure`
    raise, and `InputError` for requests or a concurrency that are none.
    """
    most = _checked(concurrency)
    whole = context_of(context, settings)
    incoming = Incoming(requests)
    under_way: dict[asyncio.Task[Recommendation], int] = {}
    try:
        while True:
            for place, request in incoming.ready(most - len(under_way)):
                heard = None if on_progress is None else partial(on_progress, place)
                work = _once_admitted(request, context=whole, graph=graph, on_progress=heard)
                under_way[asyncio.create_task(work)] = place
            if not (waited := {*under_way, *incoming.awaited}):
                return
            done, _ = await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            for task in sorted((task for task in under_way if task in done), key=_failed):
                place = under_way.pop(task)
                try:
                    result = task.result()
                except (InputError, SearchError) as error:
                    if isinstance(error, ConfigurationError | SpendingCapError):
                        raise
                    if on_failure is None:
                        raise _of_request(place, error) from error
                    await _heard(on_failure(place, error))
                else:
                    yield place, result
    finally:
        left = [*under_way, *incoming.awaited]
        for unfinished in left:
            unfinished.cancel()
        await asyncio.gather(*left, return_exceptions=True)


def _failed(task: asyncio.Task[Recommendation]) -> bool:
    return task.cancelled() or task.exception() is not None


async def _once_admitted(request: object, **options: Any) -> Recommendation:
    history, candidates = titles_of(request)
    history, candidates = listed(history, ordered=True), listed(candidates)  # which may be read only once
    while True:
        try:
            return await arecommend(history, candidates, **options)
        except BusyError as busy:
            await asyncio.sleep(busy.retry_after)


async def _heard(told: Awaitable[None] | None) -> None:
    """Wait for a listener that is async."""
    if inspect.isawaitable(told):
        await told


def _of_request(place: int, error: InputError | SearchError) -> InputError | SearchError:
    """The same error, naming the request."""
    told = f"requests[{place}]: {error}"
    return error.again(told) if isinstance(error, SearchError) else InputError(told)


def _checked(concurrency: object) -> int:
    try:
        most = operator.index(concurrency)  # type: ignore[arg-type]
    except TypeError:
        most = 0
    if most < 1:
        raise InputError(f"concurrency: {concurrency!r} is no number of requests; give a whole number of at least 1")
    return most
