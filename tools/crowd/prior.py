"""What a saved crowd says of titles: log-odds of each candidate, given a history."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from webrec.errors import ConfigurationError
from webrec.tools.crowd.choice import with_ranks
from webrec.tools.crowd.features import CrowdFeatures
from webrec.tools.crowd.saved import MODEL, SavedCrowd, load_crowd
from webrec.tools.crowd.similarity import LEARNED
from webrec.tools.text_safety import normalised

_lock = threading.Lock()


@dataclass(frozen=True)
class Prior:
    """`log_odds`: of each candidate, in nats, against the mean of those the crowd knows; None for what it does not know.

    `known_history`: how many items of the history it knows.
    """

    log_odds: list[float | None]
    known_history: int


class CrowdPrior:
    """Titles are matched as written, but for case, width and spaces; of several items with one title the most taken counts.

    Raises `ConfigurationError` for a crowd whose weights are of features that its records do not have.
    """

    def __init__(self, crowd: SavedCrowd) -> None:
        self._features, self._model, self._similarity = CrowdFeatures(crowd.records), crowd.model, crowd.similarity
        self._numbers = crowd.records.numbers
        names = (*self._features.names, *(LEARNED if crowd.similarity else ()))
        if missing := next((name for name in crowd.model.names if name not in names), None):
            raise ConfigurationError(f"crowd: its records have no {missing}; make it again with webrec crowd")
        self._places = [names.index(name) for name in crowd.model.names]
        taken = crowd.records.taken()
        self._items: dict[str, str] = {}
        for item in sorted(crowd.records.numbers, key=lambda item: int(taken[crowd.records.numbers[item]])):
            if key := normalised(crowd.records.facts[item].title):
                self._items[key] = item
        self.users, self.items = len(crowd.records.sequences), crowd.records.count

    def of(self, history: Sequence[str], candidates: Sequence[str], now: int | None = None) -> Prior:
        """Of titles. `now`: Unix seconds; None is right after the last thing that the crowd took."""
        past = [self._items[key] for title in history if (key := normalised(title)) in self._items]
        known = [self._items.get(normalised(title)) for title in candidates]
        asked = [item for item in known if item is not None]
        if not asked:
            return Prior([None] * len(candidates), len(past))
        with _lock:  # the features keep what they found of the last history
            table = self._features.of(past, asked, now)
        if self._similarity is not None:
            learned = self._similarity.scores(
                *(np.array([self._numbers[i] for i in ids], np.int64) for ids in (past, asked))
            )
            table = np.column_stack([table, *with_ranks(learned)])
        scores = self._model.score(table[:, self._places])
        values = iter((scores - np.mean(scores)).tolist())
        return Prior([None if item is None else float(next(values)) for item in known], len(past))


def get_prior(folder: str) -> CrowdPrior:
    """The crowd in a folder, counted once and kept while its file stays the same; the two last used.

    Raises `ConfigurationError` as `load_crowd`.
    """
    path = Path(folder).expanduser()
    try:
        changed = (path / MODEL).stat().st_mtime_ns
    except OSError:
        changed = 0
    with _loading:
        return _load(path, changed)


_loading = threading.Lock()


@lru_cache(maxsize=2)
def _load(path: Path, changed: int) -> CrowdPrior:
    return CrowdPrior(load_crowd(path))
