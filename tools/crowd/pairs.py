"""Sparse counts of pairs of items, read row by row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PairCounts:
    """A matrix of counts, items by items. Row r holds `values[begin[r]:begin[r + 1]]` in the columns of the same places."""

    begin: Ints
    columns: Ints
    values: Floats

    @classmethod
    def of(cls, rows: Ints, columns: Ints, weights: Floats, items: int) -> PairCounts:
        """Sum the weights of equal pairs."""
        keys, place = np.unique(rows * items + columns, return_inverse=True)
        values = np.bincount(place, weights, minlength=len(keys)).astype(np.float64)
        begin = np.searchsorted(keys, np.arange(items + 1) * items)
        return cls(begin.astype(np.int64), keys % items, values)

    def add_row(self, row: int, weight: float, onto: Floats) -> None:
        """Add `weight` times a row onto a dense vector."""
        part = slice(self.begin[row], self.begin[row + 1])
        onto[self.columns[part]] += weight * self.values[part]

    def transposed(self) -> PairCounts:
        """Rows and columns exchanged."""
        items = len(self.begin) - 1
        rows = np.repeat(np.arange(items), np.diff(self.begin))
        return PairCounts.of(self.columns, rows, self.values, items)


def followed(sequences: Iterable[Ints], items: int, steps: int) -> PairCounts:
    """How often the column's item came 1 to `steps` places after the row's; an item after itself counts as none."""
    rows, columns = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for sequence in sequences:
        for step in range(1, min(steps, len(sequence) - 1) + 1):
            rows.append(sequence[:-step])
            columns.append(sequence[step:])
    first, then = np.concatenate(rows), np.concatenate(columns)
    differ = first != then
    return PairCounts.of(first[differ], then[differ], np.ones(int(differ.sum())), items)
