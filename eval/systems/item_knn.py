"""Item to item by the users that two items share (Deshpande and Karypis 2004, cosine)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from webrec.eval.data.dataset import RankingExample, TrainingData
from webrec.eval.systems.system import NotFittedError, OneByOne


class ItemKNN(OneByOne):
    """Sum over the history of the cosine between two items' sets of users.

    Exact and without a neighbour limit: with 20 candidates there is nothing to prune. No table of pairs is kept, only who
    took what, so memory grows with the interactions alone.
    """

    name = "item_knn"

    def __init__(self) -> None:
        self._takers: dict[str, npt.NDArray[np.int64]] | None = None
        self._users = 0

    def fit(self, training: TrainingData, seed: int, validation: Sequence[RankingExample] = ()) -> None:
        """Who took each item, once each."""
        takers: dict[str, list[int]] = {}
        for number, sequence in enumerate(training.sequences.values()):
            for item in dict.fromkeys(sequence):
                takers.setdefault(item, []).append(number)
        self._users = len(training.sequences)
        self._takers = {item: np.array(users, np.int64) for item, users in takers.items()}

    def rank(self, example: RankingExample) -> list[float]:
        """0 for an item that training never saw, or that shares no user with the history."""
        if self._takers is None:
            raise NotFittedError(self.name)
        # Sum_h |U_h n U_c| / sqrt(|U_h| |U_c|), with the sum over h taken once for each user.
        weights = np.zeros(self._users)
        for item in dict.fromkeys(example.history):
            if (users := self._takers.get(item)) is not None:
                weights[users] += 1 / np.sqrt(len(users))
        scores = []
        for item in example.candidates:
            users = self._takers.get(item)
            scores.append(0.0 if users is None else float(weights[users].sum() / np.sqrt(len(users))))
        return scores
