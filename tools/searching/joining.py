"""Joining equal questions and bounding calls within one process, over all its threads and event loops."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from webrec.errors import SearchError


class Bell:
    """Wakes one waiting task, from any thread. Made in the task that will wait."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[None] = self._loop.create_future()

    async def wait(self) -> None:
        """Sleep until it rings."""
        await self._future

    def ring(self) -> bool:
        """Whether the waiter's event loop still runs."""
        try:
            self._loop.call_soon_threadsafe(self._wake)
        except RuntimeError:  # the loop is closed
            return False
        return True

    def _wake(self) -> None:
        if not self._future.done():  # the waiting task may have been cancelled
            self._future.set_result(None)


@dataclass
class Flight:
    """One question being asked. Once `landed`, it has a failure, or the answer is in the record, or it was given up."""

    landed: bool = False
    failure: SearchError | None = None
    waiting: list[Bell] = field(default_factory=list)


class Flights:
    """The questions being asked by this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flying: dict[str, Flight] = {}

    def board(self, key: str) -> tuple[Flight, bool]:
        """The flight for `key`, and whether the caller is the one who asks: then it must `land` it, come what may."""
        with self._lock:
            held = self._flying.get(key)
            if held is not None:
                return held, False
            flight = self._flying[key] = Flight()
            return flight, True

    async def wait(self, flight: Flight) -> SearchError | None:
        """The failure that all who waited share; None if there is an answer to look up or nobody asks any more."""
        bell = Bell()
        with self._lock:
            if flight.landed:
                return flight.failure
            flight.waiting.append(bell)
        await bell.wait()
        return flight.failure

    def land(self, key: str, flight: Flight, failure: SearchError | None) -> None:
        """Wake those who wait."""
        with self._lock:
            flight.landed, flight.failure = True, failure
            if self._flying.get(key) is flight:
                del self._flying[key]
        for bell in flight.waiting:
            bell.ring()


@dataclass(eq=False)
class _Waiter:
    limit: int
    bell: Bell
    admitted: bool = False


class Turnstile:
    """At most so many inside at a time, first come, first served."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._waiting: deque[_Waiter] = deque()

    async def enter(self, limit: int) -> None:
        """Wait until fewer than `limit` are inside; whoever entered must `leave`."""
        with self._lock:
            if self._inside < limit and not self._waiting:
                self._inside += 1
                return
            waiter = _Waiter(limit, Bell())
            self._waiting.append(waiter)
        try:
            await waiter.bell.wait()
        except BaseException:
            with self._lock:
                if not waiter.admitted:
                    self._waiting.remove(waiter)
            if waiter.admitted:
                self.leave()
            raise

    def leave(self) -> None:
        """Make room for the next one."""
        with self._lock:
            self._inside -= 1
            while self._waiting and self._inside < self._waiting[0].limit:
                waiter = self._waiting.popleft()
                waiter.admitted = waiter.bell.ring()
                self._inside += waiter.admitted


_turnstiles: dict[str, Turnstile] = {}
_turnstiles_lock = threading.Lock()


def turnstile(provider: str) -> Turnstile:
    """What bounds this process's calls to a provider."""
    with _turnstiles_lock:
        return _turnstiles.setdefault(provider, Turnstile())


_visited: dict[str, tuple[Turnstile, int]] = {}


@asynccontextmanager
async def inside(name: str, limit: int) -> AsyncGenerator[None]:
    """Be one of at most `limit` that are inside `name` in this process; a name that nobody waits for takes no memory."""
    with _turnstiles_lock:
        gate, visitors = _visited.get(name, (Turnstile(), 0))
        _visited[name] = gate, visitors + 1
    try:
        await gate.enter(limit)
        try:
            yield
        finally:
            gate.leave()
    finally:
        with _turnstiles_lock:
            visitors = _visited[name][1] - 1
            if visitors:
                _visited[name] = gate, visitors
            else:
                del _visited[name]


def _after_fork() -> None:
    """A forked child has none of the parent's calls inside."""
    global _turnstiles_lock
    _turnstiles_lock = threading.Lock()
    _turnstiles.clear()
    _visited.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
