"""Influence that decoding has measured on its way, so that it need not be computed again."""

from __future__ import annotations

import hashlib
import threading
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from webrec.models.decode_step import Watched

KEPT_TEXTS = 1024


class RecentInfluence:
    """The last texts' influence: one number a token. What it saves is time alone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: OrderedDict[tuple[bytes, int, Watched], list[float]] = OrderedDict()

    def put(self, ids: Sequence[int], generated: int, watched: Watched, influence: list[float]) -> None:
        """Keep `influence` of the last `generated` of `ids`."""
        with self._lock:
            self._held[_key(ids, generated, watched)] = influence
            while len(self._held) > KEPT_TEXTS:
                self._held.popitem(last=False)

    def get(self, ids: Sequence[int], generated: int, watched: Watched) -> list[float] | None:
        """What was kept of exactly these tokens, layer and heads."""
        with self._lock:
            return self._held.get(_key(ids, generated, watched))


def _key(ids: Sequence[int], generated: int, watched: Watched) -> tuple[bytes, int, Watched]:
    return hashlib.sha256(array("q", ids).tobytes()).digest(), generated, watched
