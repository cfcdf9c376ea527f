"""The key/value cache of the last decoded prompt, handed on to the next pass over the same prompt."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any


class RecentCache:
    """Holds one cache at most: whoever decodes puts it in, whoever reads the same prompt next takes it out.

    What it saves is time alone: without it the prompt is computed again, equal up to rounding.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: tuple[tuple[int, ...], Any] | None = None

    def put(self, prompt: Sequence[int], cache: Any) -> None:
        """Keep `cache`, which begins with `prompt`, in place of the one before."""
        with self._lock:
            self._held = (tuple(prompt), cache)

    def take(self, prompt: Sequence[int]) -> Any | None:
        """The cache of exactly `prompt`, cut to it, for the caller alone; None if another prompt's or none is held."""
        with self._lock:
            if self._held is None or self._held[0] != tuple(prompt):
                return None
            cache, self._held = self._held[1], None
        if (extra := cache.get_seq_length() - len(prompt)) < 0:
            return None  # decoding stopped before it had read the prompt
        cache.crop(-extra)
        return cache
