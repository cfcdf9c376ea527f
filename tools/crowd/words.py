"""Words that titles share, the rare ones counting most."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from webrec.tools.text_safety import normalised


class TitleWords:
    """TF-IDF vectors of titles, as (word numbers, weights) of length 1. A word that all titles have weighs nothing."""

    def __init__(self, titles: Sequence[str]) -> None:
        words = [sorted(set(normalised(title).split())) for title in titles]
        known = {word: number for number, word in enumerate(sorted({w for own in words for w in own}))}
        self._numbers = [np.array([known[word] for word in own], np.int64) for own in words]
        every = np.concatenate([*self._numbers, np.zeros(0, np.int64)])
        self._rarity = np.log(max(1, len(titles)) / np.maximum(1, np.bincount(every, minlength=len(known))))

    @property
    def size(self) -> int:
        """How many words there are."""
        return len(self._rarity)

    def columns(self, titles: Sequence[int]) -> npt.NDArray[np.float64]:
        """(words, titles): a column for each title."""
        dense = np.zeros((len(self._rarity), len(titles)))
        for place, title in enumerate(titles):
            own = self._numbers[title]
            weights = self._rarity[own]
            dense[own, place] = weights / (_length(weights) or 1.0)
        return dense

    def cosines(self, columns: npt.NDArray[np.float64], title: int) -> npt.NDArray[np.float64]:
        """Of a title with each of `columns`."""
        own = self._numbers[title]
        weights = self._rarity[own]
        return weights @ columns[own] / (_length(weights) or 1.0)


def _length(weights: npt.NDArray[np.float64]) -> float:
    return float(np.sqrt((weights**2).sum()))
