"""Whose turn it is to compute on a device: threads of one process that compute at the same time slow one another down.

Each pass uses all of torch's threads. Two at once would be twice as many threads as cores; on CPUs that is many times slower.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from webrec.models.allocator import give_back, is_limited
from webrec.models.threads import settle

IDLE_SECONDS = 1.0
"""Once nobody has computed for so long, what the limit for trimming keeps is given back, in processes that asked for that limit."""


class Turns:
    """A lock that goes to whoever has waited longest. It is not re-entrant."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._ended = 0.0
        self._timer: threading.Timer | None = None

    @contextmanager
    def take(self) -> Iterator[None]:
        """Wait for one's turn, have it inside the context with the process's number of CPU threads, pass it on."""
        mine = threading.Event()
        try:
            with self._lock:
                self._waiting.append(mine)
                self._waiting[0].set()
            mine.wait()
            settle()
            yield
        finally:
            with self._lock:
                if mine in self._waiting:  # an interrupt may have come before it was
                    self._waiting.remove(mine)
                if self._waiting:
                    self._waiting[0].set()
                elif is_limited():
                    self._ended = time.monotonic()
                    # One that a fork left behind is not alive.
                    if self._timer is None or not self._timer.is_alive():
                        self._look_in(IDLE_SECONDS)

    def _look_in(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._give_back_if_idle)
        self._timer.daemon = True
        with suppress(RuntimeError):  # the interpreter is shutting down
            self._timer.start()

    def _give_back_if_idle(self) -> None:
        with self._lock:
            self._timer = None
            if self._waiting:  # the last of whom comes by again
                return
            if (left := self._ended + IDLE_SECONDS - time.monotonic()) > 0:
                self._look_in(left)
                return
        give_back()


_devices: dict[str, Turns] = {}
_registry = threading.Lock()


def turns_of(device: Any) -> Turns:
    """The turns on `device`, a torch device or its name, of this process."""
    with _registry:
        return _devices.setdefault(str(device), Turns())
