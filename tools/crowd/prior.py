"""What a saved crowd says of titles: log-odds of each candidate, given a history."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from webrec.errors import ConfigurationError
from webrec.tools.crowd.choice import with_ranks
from webrec.tools.crowd.features import CrowdFeatures
from webrec.tools.crowd.pairs import Floats
from webrec.tools.crowd.saved import MODEL, SavedCrowd, load_crowd
from webrec.tools.crowd.similarity import LEARNED, LearnedSimilarity, Vectors
from webrec.tools.text_safety import normalised

Embed = Callable[[Sequence[str]], Vectors]
"""Texts to their embeddings, (texts, width)."""
_lock = threading.Lock()


@dataclass(frozen=True)
class Prior:
    """`log_odds`: of each candidate, in nats, against the mean of those the crowd knows; None for what it can tell nothing of.

    `known_history`: how many items of the history it knows. `by_text`: how many candidates it does not know and has read.
    """

    log_odds: list[float | None]
    known_history: int
    by_text: int = 0


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

    def of(
        self, history: Sequence[str], candidates: Sequence[str], now: int | None = None, embed: Embed | None = None
    ) -> Prior:
        """Of titles. `now`: Unix seconds; None is right after the last thing that the crowd took.

        `embed`: the sentence encoder. With it, a crowd whose similarity has maps reads titles that it does not know, of history and
        candidates: such a candidate has what its title says, and for all else the mean of the known ones.
        """
        past = [self._items.get(normalised(title)) for title in history]
        asked = [self._items.get(normalised(title)) for title in candidates]
        known = np.array([item is not None for item in asked])
        heard, learned = known, None
        if self._similarity is not None:
            heard, learned = self._learned(self._similarity, history, past, candidates, asked, embed)
        told = Prior([None] * len(candidates), sum(item is not None for item in past), int((heard & ~known).sum()))
        if not heard.any():
            return told
        columns = np.zeros((len(candidates), len(self._features.names)))
        if known.any():
            with _lock:  # the features keep what they found of the last history
                ids = [item for item in past if item is not None], [item for item in asked if item is not None]
                columns[known] = self._features.of(*ids, now)
            columns[heard & ~known] = columns[known].mean(0)
        if learned is not None:
            more = np.zeros((len(candidates), len(LEARNED)))
            more[heard] = np.column_stack(with_ranks(learned))
            columns = np.column_stack([columns, more])
        scores = self._model.score(columns[:, self._places])
        scores -= scores[known if known.any() else heard].mean()
        return replace(told, log_odds=[float(s) if one else None for s, one in zip(scores, heard, strict=True)])

    def _learned(
        self,
        similarity: LearnedSimilarity,
        history: Sequence[str],
        past: Sequence[str | None],
        candidates: Sequence[str],
        asked: Sequence[str | None],
        embed: Embed | None,
    ) -> tuple[npt.NDArray[np.bool_], Floats]:
        """Which candidates it can tell something of, and what of these."""
        known = {
            title: self._numbers[item]
            for title, item in zip((*history, *candidates), (*past, *asked), strict=True)
            if item is not None
        }
        keys = {title: similarity.keys[number] for title, number in known.items()}
        values = {title: similarity.values[number] for title, number in known.items()}
        new = list(dict.fromkeys(title for title in (*history, *candidates) if title not in known))
        if new and embed is not None and similarity.maps is not None:
            vectors = embed(new)
            keys |= zip(new, similarity.maps.keys(vectors), strict=True)
            values |= zip(new, similarity.maps.values(vectors), strict=True)
        taken = [float(similarity.bias[known[title]]) for title in candidates if title in known]
        usual = float(np.mean(taken)) if taken else 0.0
        heard = [title for title in candidates if title in values]
        bias = np.array([float(similarity.bias[known[title]]) if title in known else usual for title in heard])
        width = similarity.keys.shape[1]
        scores = similarity.scores_of(
            np.array([keys[title] for title in history if title in keys], np.float32).reshape(-1, width),
            np.array([values[title] for title in heard], np.float32).reshape(-1, width),
            bias,
        )
        return np.array([title in values for title in candidates]), scores


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
