"""What systems said of a data set's examples, for the systems that are fused of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from webrec.eval.data.dataset import RankingExample
from webrec.eval.data.frozen import FrozenExamples
from webrec.eval.evaluation.plan import Fit
from webrec.eval.evaluation.rows import RowStore


@dataclass(frozen=True)
class _Told:
    """Of one part and sampling. `places`: of each key; `scores`: (examples, candidates)."""

    places: Mapping[str, int]
    candidates: Sequence[tuple[str, ...]]
    scores: npt.NDArray[np.float64]


class InputScores:
    """The scores of one data set and seed, read from the rows when first asked for.

    `fits`: of all systems and seeds; those of `seed` are taken, or of a system without chance the only one. Raises
    `ConfigurationError` where rows are missing.
    """

    def __init__(self, store: RowStore, fits: Sequence[Fit], frozen: FrozenExamples, part: str, seed: int) -> None:
        self._store, self._frozen, self._part, self._seed = store, frozen, part, seed
        self._fits = {fit.pieces[0].system: fit for fit in fits if fit.seed == seed}
        for fit in fits:
            self._fits.setdefault(fit.pieces[0].system, fit)
        self._told: dict[tuple[str, str, str], _Told] = {}

    def of(self, system: str, example: RankingExample) -> Sequence[float]:
        """One score for each candidate, in their order."""
        key = (system, example.part, example.sampling)
        if key not in self._told:
            self._told[key] = self._read(*key)
        told = self._told[key]
        place = told.places[example.key]
        by_item = dict(zip(told.candidates[place], told.scores[place].tolist(), strict=True))
        return [by_item[item] for item in example.candidates]

    def _read(self, system: str, part: str, sampling: str) -> _Told:
        fit = self._fits[system]
        pieces = fit.pieces if part == self._part else fit.fitting
        rows = self._store.read([p for p in pieces if p.sampling == sampling], ["key", "scores"])
        keys = rows["key"].to_pylist()
        by_key = {e.key: e for e in self._frozen.examples(part, sampling)}  # type: ignore[arg-type]
        examples = [by_key[key] for key in keys]
        scores = rows["scores"].combine_chunks().flatten().to_numpy().reshape(len(keys), -1)
        return _Told({key: place for place, key in enumerate(keys)}, [e.candidates for e in examples], scores)
