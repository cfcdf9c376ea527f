"""Whose turn it is to compute on a device: threads of one process that compute at the same time slow one another down.

Each pass uses all of torch's threads. Two at once would be twice as many threads as cores; on CPUs that is many times slower.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from webrec.models.threads import settle


class Turns:
    """A lock that goes to whoever has waited longest. It is not re-entrant."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[threading.Event] = deque()

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


_devices: dict[str, Turns] = {}
_registry = threading.Lock()


def turns_of(device: Any) -> Turns:
    """The turns on `device`, a torch device or its name, of this process."""
    with _registry:
        return _devices.setdefault(str(device), Turns())
