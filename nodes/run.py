"""What a node is given beside the state, and how a function becomes a node that never blocks the event loop."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, TypeVar

from langchain_core.runnables import RunnableLambda
from langgraph.runtime import get_runtime

from webrec.errors import ConfigurationError
from webrec.models.backbone import Backbone, get_backbone
from webrec.models.config import BackboneConfig
from webrec.models.content_store import ContentStore, open_content_store
from webrec.nodes.context import RunContext, effective_context, make_context
from webrec.nodes.node_threads import node_threads
from webrec.nodes.query_strategies import QueryStrategy
from webrec.nodes.state import State
from webrec.tools.providers.registry import ProviderFactory
from webrec.tools.text_safety import clean

T = TypeVar("T")
Update = dict[str, Any]


@dataclass(frozen=True)
class Resources:
    """What a graph was built with: its providers and query strategies by name, and which nodes are somebody's own."""

    providers: Mapping[str, ProviderFactory]
    strategies: Mapping[str, QueryStrategy]
    replaced: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Run:
    """One node's view of the run: settings, progress, cancellation, resources."""

    node: str
    context: RunContext
    resources: Resources
    write: Callable[[Any], None]
    cancelled: Callable[[], bool] = lambda: False

    def emit(self, event: str, **details: Any) -> None:
        """Stream progress as a custom event `{node, event, …}`."""
        self.write({"node": self.node, "event": event, **details})

    def backbone(self) -> Backbone:
        """The plain backbone, which reasons and writes queries; loaded on first use and shared."""
        return get_backbone(self._backbone_config().model_copy(update={"adapter": None, "adapter_revision": None}))

    def scorer(self) -> Backbone:
        """The backbone that scores: with the adapter, if the run has one, on the same weights."""
        return get_backbone(self._backbone_config())

    def kept(self) -> ContentStore | None:
        """Where results are kept by content, if the run wants that."""
        return kept_by(self.context)

    def _backbone_config(self) -> BackboneConfig:
        return BackboneConfig(**{name: getattr(self.context, name) for name in BackboneConfig.model_fields})


def kept_by(context: RunContext) -> ContentStore | None:
    """Where a run with these settings keeps results by content."""
    return open_content_store() if context.reuse_computed else None


NodeFunction = Callable[[Any, Run], Update | Awaitable[Update | None] | None]
"""None changes nothing."""


def as_node(name: str, function: NodeFunction, resources: Resources) -> RunnableLambda[Any, Update | None]:
    """A graph node from `function(state, run)`, sync or async, for `invoke` and `ainvoke` alike.

    A sync function computes in a thread. Cancelling the awaiting task tells it to stop at its next step. Awaited, the first node
    raises `BusyError` where too much waits already: then nothing of the run was done. An update of what the state does not have is a
    `ConfigurationError`.
    """

    def start(state: Any, cancelled: Callable[[], bool]) -> Run:
        runtime = get_runtime(RunContext)
        # A new run on a used thread finds the last run's settings in the state: prepare does not go by them.
        context = make_context(runtime.context) if name == "prepare" else effective_context(runtime.context, state)
        run = Run(name, context, resources, runtime.stream_writer, cancelled)
        run.emit("started")
        return run

    async def call_async(state: Any) -> Update | None:
        if name == "prepare":
            node_threads.admit()
        cancelled = threading.Event()
        run, began = start(state, cancelled.is_set), time.perf_counter()
        try:
            in_loop = inspect.iscoroutinefunction(function)
            update = function(state, run) if in_loop else await node_threads.call(function, state, run)
            if inspect.isawaitable(update):
                update = await update
        except asyncio.CancelledError:
            cancelled.set()
            raise
        _check_update(name, update)
        run.emit("finished", seconds=round(time.perf_counter() - began, 3))
        return update

    def call(state: Any) -> Update | None:
        run, began = start(state, lambda: False), time.perf_counter()
        update = function(state, run)
        if inspect.isawaitable(update):
            update = run_blocking(_awaited(update))
        _check_update(name, update)
        run.emit("finished", seconds=round(time.perf_counter() - began, 3))
        return update

    return RunnableLambda(call, afunc=call_async, name=name)


async def _awaited(update: Awaitable[Update | None]) -> Update | None:
    return await update


def _check_update(node: str, update: Any) -> None:
    """Raise `ConfigurationError` for a key that the state does not have: LangGraph would leave it out without a word."""
    known = State.__annotations__
    for key in update if isinstance(update, dict) else ():
        if key not in known:
            raise ConfigurationError(
                f"nodes: {node} gave {clean(str(key), 60)!r}, which the state does not have; give only {', '.join(known)}"
            )


def run_blocking(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end from sync code, also where this thread already runs an event loop. Interrupted, it is cancelled."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    begun: Future[Callable[[], Any]] = Future()

    async def cancellable() -> T:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        begun.set_result(lambda: task and loop.call_soon_threadsafe(task.cancel))
        return await coroutine

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(copy_context().run, asyncio.run, cancellable())
        try:
            return running.result()
        except BaseException:
            if not running.done():
                with suppress(RuntimeError):  # its loop has just closed
                    begun.result()()
            raise
