"""The threads that nodes compute in, and how much may wait for one before a new run is told to come again."""

from __future__ import annotations

import asyncio
import os
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

from webrec.errors import BusyError

T = TypeVar("T")

THREADS = 64
"""More than `asyncio.to_thread` has on a small machine: those that wait for the backbone compute nothing."""

MOST_WAITING = 64
"""Nodes that may wait for a thread; no run begins before there are fewer."""


_all: weakref.WeakSet[NodeThreads] = weakref.WeakSet()


class NodeThreads:
    """A pool of threads with a bounded queue: runs are turned away before they begin, never once they have begun."""

    def __init__(self, threads: int = THREADS, most_waiting: int = MOST_WAITING) -> None:
        self._threads, self._most_waiting = threads, most_waiting
        self._begin()
        _all.add(self)

    def _begin(self) -> None:
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="webrec-node")
        self._lock = threading.Lock()
        self._jobs = 0
        self._seconds = 1.0  # between two jobs that end, smoothed
        self._ended = time.monotonic()

    @property
    def waiting(self) -> int:
        """Jobs that have no thread yet."""
        return max(0, self._jobs - self._threads)

    def admit(self) -> None:
        """Raise `BusyError` if no run may begin now."""
        if (waiting := self.waiting) >= self._most_waiting:
            raise BusyError(waiting, waiting * self._seconds)

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """`function(*arguments)` in a thread, with the caller's context variables. Cancelled while it waits, it gives up its place."""
        with self._lock:
            if self._jobs == 0:
                self._ended = time.monotonic()
            self._jobs += 1
        try:
            job = self._pool.submit(copy_context().run, function, *arguments)
        except BaseException:
            self._end(None)
            raise
        job.add_done_callback(self._end)
        return await asyncio.wrap_future(job)

    def _end(self, job: Future[Any] | None) -> None:
        with self._lock:
            self._jobs -= 1
            if job is not None and not job.cancelled():
                now = time.monotonic()
                self._seconds += 0.1 * (now - self._ended - self._seconds)
                self._ended = now


def _begin_again() -> None:
    for threads in _all:
        threads._begin()  # the parent's threads are not here, and its jobs are not ours


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_again)

node_threads = NodeThreads()
"""Those of this process."""
