"""Where the target ends up among its candidates, and what that is worth."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from webrec.errors import InputError

Floats = npt.NDArray[np.float64]
Ranks = npt.NDArray[np.int64]

METRICS = ("ndcg@10", "hr@10", "hr@5", "ndcg@5", "hr@1", "mrr")
"""In the order of the tables; the first is the primary one."""


def target_ranks(scores: npt.ArrayLike, targets: npt.ArrayLike) -> Ranks:
    """Rank of each example's target, from 1; a candidate with the same score is placed before it (ties count against us).

    `scores`: (examples, candidates), higher is better. `targets`: (examples,), the target's column. Returns (examples,).
    Raises `InputError` on a shape that does not fit, a column that does not exist, or a score that is no number.
    """
    table, columns = np.asarray(scores), np.asarray(targets)
    if table.ndim != 2 or columns.shape != table.shape[:1]:
        raise InputError(
            f"scores must be (examples, candidates) and targets (examples,), not {table.shape} and {columns.shape}"
        )
    if columns.size and not np.issubdtype(columns.dtype, np.integer):
        raise InputError(f"targets must be column numbers, not {columns.dtype}")
    if columns.size and not (columns.min() >= 0 and columns.max() < table.shape[1]):
        raise InputError(f"targets must be columns from 0 to {table.shape[1] - 1}")
    if np.isnan(table).any():
        raise InputError(f"scores hold NaN in example {int(np.isnan(table).any(axis=1).argmax())}; a score is a number")
    own = np.take_along_axis(table, columns[:, None].astype(np.int64), axis=1)
    ranks: Ranks = (table >= own).sum(axis=1, dtype=np.int64)  # the target itself counts as one
    return ranks


def hit_rate(ranks: Ranks, at: int) -> Floats:
    """HR@`at`: 1 where the target is among the first `at`, else 0."""
    return (ranks <= at).astype(np.float64)


def ndcg(ranks: Ranks, at: int) -> Floats:
    """NDCG@`at` with one relevant item, so the ideal is 1: 1/log2(1 + rank) among the first `at`, else 0."""
    return np.where(ranks <= at, 1 / np.log2(1.0 + ranks), 0.0)


def reciprocal_rank(ranks: Ranks) -> Floats:
    """1/rank, not cut off."""
    return 1.0 / ranks


def metric_values(ranks: Ranks) -> dict[str, Floats]:
    """Every metric of `METRICS` for each example, from `ranks` (examples,), counted from 1."""
    if ranks.size and ranks.min() < 1:
        raise InputError("ranks count from 1")
    values = {"mrr": reciprocal_rank(ranks)}
    values |= {f"hr@{at}": hit_rate(ranks, at) for at in (1, 5, 10)}
    values |= {f"ndcg@{at}": ndcg(ranks, at) for at in (5, 10)}
    return {name: values[name] for name in METRICS}


def chance(candidates: int) -> dict[str, float]:
    """What ranking `candidates` at random scores on average: the mean over every rank."""
    if candidates < 1:
        raise InputError("candidates must be at least 1")
    every = np.arange(1, candidates + 1, dtype=np.int64)
    return {name: float(values.mean()) for name, values in metric_values(every).items()}
