"""What an evaluation found: metrics with intervals for each cell, systems compared pairwise, time; written as summary.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from webrec.errors import ConfigurationError
from webrec.eval.data.audit import coverage
from webrec.eval.data.frozen import FrozenExamples
from webrec.eval.evaluation.breakdown import breakdown, groups_of
from webrec.eval.evaluation.config import EvalConfig, retrieval_of
from webrec.eval.evaluation.rows import RowStore
from webrec.eval.metrics.ranking import METRICS, chance, metric_values
from webrec.eval.metrics.statistics import Interval, compare, intervals, seed_spread

if TYPE_CHECKING:
    from webrec.eval.evaluation.plan import Fit
    from webrec.eval.retrieval.corpus import Corpus

SUMMARY_FILE = "summary.json"
PRIMARY = METRICS[0]
TargetFound = Mapping[tuple[str, str], Mapping[tuple[str, str], Mapping[str, bool]]]


class Cell(BaseModel):
    """One system on one data set and sampling.

    `metrics`: mean, low and high end of each; `spread`: over training seeds; `groups`: by kind and group of examples, the users
    and the primary metric, as in `metrics`.
    """

    model_config = ConfigDict(frozen=True)

    data: str
    sampling: str
    system: str
    users: int
    examples: int
    seeds: int
    metrics: dict[str, tuple[float, float, float]]
    spread: dict[str, float]
    groups: dict[str, dict[str, tuple[int, float, float, float]]]
    seconds_per_example: float
    tokens_read_per_example: float
    tokens_written_per_example: float


class Pair(BaseModel):
    """The best system of a cell against another, on the primary metric."""

    model_config = ConfigDict(frozen=True)

    data: str
    sampling: str
    system: str
    rival: str
    difference: tuple[float, float, float]
    gain: tuple[float, float, float] | None
    p: float
    detectable: float


class Summary(BaseModel):
    """All cells and comparisons of a run. `chance`: what random order gives in the mean, by data set."""

    model_config = ConfigDict(frozen=True)

    metric: str
    chance: dict[str, dict[str, float]]
    cells: list[Cell]
    pairs: list[Pair]
    notes: dict[str, dict[str, Any]]


def summarise(
    config: EvalConfig,
    frozen: Mapping[str, FrozenExamples],
    fits: Sequence[Fit],
    store: RowStore,
    target_found: TargetFound,
    corpora: Mapping[str, Corpus],
) -> Summary:
    """Read all rows and compute. A user's draws, and a system's seeds, are averaged before anything else.

    `target_found`: by data set and retrieval, (part, sampling) and example key, whether a page about the target was found.
    """
    cells, pairs = [], []
    for data, examples in frozen.items():
        past, counts = examples.past(config.part), examples.training().counts
        for sampling in examples.samplings:
            own = [f for f in fits if f.data == data]
            values: dict[str, Any] = {}
            asked = examples.examples(config.part, sampling)
            for system in dict.fromkeys(f.pieces[0].system for f in own):
                fitted = [f for f in own if f.pieces[0].system == system]
                found = target_found.get((data, retrieval_of(fitted[0].system) or ""), {}).get((config.part, sampling))
                groups = groups_of(asked, past, counts, found)
                cell, by_user = _cell(data, sampling, system, fitted, store, groups)
                cells.append(cell)
                values[system] = by_user
            best = max(values, key=lambda name: values[name].mean())
            for rival in values:
                if rival != best:
                    compared = compare(values[best], values[rival])
                    pairs.append(
                        Pair(
                            data=data,
                            sampling=sampling,
                            system=best,
                            rival=rival,
                            difference=_ends(compared.difference),
                            gain=None if compared.gain is None else _ends(compared.gain),
                            p=compared.p,
                            detectable=compared.detectable,
                        )
                    )
    return Summary(
        metric=PRIMARY,
        chance={name: chance(examples.manifest["config"]["candidates"]) for name, examples in frozen.items()},
        cells=cells,
        pairs=pairs,
        notes={
            name: {
                **{key: examples.manifest.get(key) for key in _NOTED},
                **({} if name not in corpora else _coverage(config, examples, corpora[name])),
            }
            for name, examples in frozen.items()
        },
    )


_NOTED = ("filtered", "left_out", "redrawn", "window", "matching", "matching covered")


def _coverage(config: EvalConfig, examples: FrozenExamples, corpus: Corpus) -> dict[str, Any]:
    """Of how many targets, and of how many other candidates, the corpus tells."""
    pages = corpus.pages_of()
    return {
        f"page coverage, {sampling}": coverage(examples.examples(config.part, sampling), pages).model_dump()
        for sampling in examples.samplings
    }


def write_summary(folder: Path, summary: Summary) -> None:
    """Write summary.json, whole or not at all."""
    fresh = folder / f"{SUMMARY_FILE}.new"
    fresh.write_text(json.dumps(summary.model_dump(mode="json"), indent=1) + "\n", encoding="utf-8")
    fresh.replace(folder / SUMMARY_FILE)


def read_summary(folder: Path) -> Summary:
    """The summary of a finished run. Raises `ConfigurationError` where there is none."""
    try:
        return Summary.model_validate_json((folder / SUMMARY_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ConfigurationError(
            f"{folder}: it holds no finished evaluation; finish it with webrec eval --resume {folder}"
        ) from None


def _cell(
    data: str,
    sampling: str,
    system: str,
    fits: Sequence[Fit],
    store: RowStore,
    groups: Mapping[str, Sequence[str]],
) -> tuple[Cell, Any]:
    """The cell, and the primary metric of each user, in the order of the frozen examples."""
    columns = ["key", "user", "rank", "seconds", "tokens_read", "tokens_written"]
    per_seed, keys, costs, primary = [], None, [], []
    for fit in fits:
        rows = store.read([p for p in fit.pieces if p.sampling == sampling], columns)
        found = rows["key"].to_pylist()
        if len(set(found)) != len(found) or (keys is not None and found != keys):
            raise ConfigurationError(
                f"{store.folder}: the rows of {system} are not one for each example; remove {system} there"
            )
        keys = found
        users = rows["user"].to_numpy(zero_copy_only=False)
        values = metric_values(rows["rank"].to_numpy().astype(np.int64))
        _, first, place, counts = np.unique(users, return_index=True, return_inverse=True, return_counts=True)
        order = np.argsort(first)  # of appearance
        means = np.stack([np.bincount(place, values[m]) / counts for m in METRICS], axis=1)[order]
        per_seed.append(means)
        primary.append(values[PRIMARY])
        costs.append([float(np.mean(rows[name].to_numpy())) for name in columns[3:]])
    table = np.stack(per_seed)
    over_seeds = table.mean(0)
    cost = np.mean(costs, axis=0)
    cell = Cell(
        data=data,
        sampling=sampling,
        system=system,
        users=table.shape[1],
        examples=len(keys or []),
        seeds=len(fits),
        metrics=dict(zip(METRICS, map(_ends, intervals(over_seeds)), strict=True)),
        spread={m: seed_spread(table[:, :, n]) for n, m in enumerate(METRICS)} if len(fits) > 1 else {},
        groups={
            kind: {name: (i.users, *_ends(i)) for name, i in named.items()}
            for kind, named in breakdown(np.mean(primary, axis=0), users.tolist(), groups).items()
        },
        seconds_per_example=float(cost[0]),
        tokens_read_per_example=float(cost[1]),
        tokens_written_per_example=float(cost[2]),
    )
    return cell, over_seeds[:, 0]


def _ends(interval: Interval) -> tuple[float, float, float]:
    return round(interval.mean, 6), round(interval.low, 6), round(interval.high, 6)
