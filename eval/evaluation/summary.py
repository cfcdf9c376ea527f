"""What an evaluation found: metrics with intervals for each cell, systems compared pairwise, time; written as summary.json."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from webrec.errors import ConfigurationError
from webrec.eval.data.audit import coverage
from webrec.eval.data.build import JUDGED
from webrec.eval.data.frozen import FrozenExamples
from webrec.eval.evaluation.breakdown import breakdown, found_groups, groups_of
from webrec.eval.evaluation.config import EvalConfig
from webrec.eval.evaluation.rows import RowStore
from webrec.eval.metrics.ranking import METRICS, chance, metric_values
from webrec.eval.metrics.statistics import Interval, compare, holm, intervals, seed_spread
from webrec.eval.whole_text import write_whole_text

if TYPE_CHECKING:
    from webrec.eval.evaluation.plan import Fit
    from webrec.eval.retrieval.corpus import Corpus

SUMMARY_FILE = "summary.json"
PRIMARY = METRICS[0]
TargetFound = Mapping[tuple[str, str], Mapping[tuple[str, str], Mapping[str, bool]]]


class Cell(BaseModel):
    """One system on one data set and sampling.

    `metrics`: mean, low and high end of each; `spread`: over training seeds; `groups`: by kind and group of examples, the users
    and the primary metric, as in `metrics`, but over users alone.
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
    """A system of a cell against another, on the primary metric. `freedom`: of the t-test, where a system has several seeds. `p_holm`: p corrected over all planned comparisons, where it is one."""

    model_config = ConfigDict(frozen=True)

    data: str
    sampling: str
    system: str
    rival: str
    difference: tuple[float, float, float]
    gain: tuple[float, float, float] | None
    p: float
    detectable: float | None
    freedom: float | None = None
    p_holm: float | None = None


class Summary(BaseModel):
    """All cells and comparisons of a run: `pairs` of the best of a cell with the others, `planned` as the run's first start and its configuration name them.

    `chance`: what random order gives in the mean, by data set.
    """

    model_config = ConfigDict(frozen=True)

    metric: str
    chance: dict[str, dict[str, float]]
    cells: list[Cell]
    pairs: list[Pair]
    planned: list[Pair] = []
    notes: dict[str, dict[str, Any]]


def summarise(
    config: EvalConfig,
    comparisons: Sequence[tuple[str, str]],
    frozen: Mapping[str, FrozenExamples],
    fits: Sequence[Fit],
    store: RowStore,
    target_found: TargetFound,
    corpora: Mapping[str, Corpus],
) -> Summary:
    """Read all rows and compute. A user's draws are averaged before anything else.

    `comparisons`: those that were planned. `target_found`: by data set and system, (part, sampling) and example key, whether it read a page about the target.
    """
    cells, pairs, planned = [], [], []
    for data, examples in frozen.items():
        past, counts = examples.past(config.part), examples.training().counts
        for sampling in examples.samplings:
            own = [f for f in fits if f.data == data]
            asked = examples.examples(config.part, sampling)
            by_name: dict[str, list[Fit]] = {}
            for fit in own:
                by_name.setdefault(fit.pieces[0].system, []).append(fit)
            read = {name: _read(name, fitted, store, sampling) for name, fitted in by_name.items()}
            found = {}
            for name in by_name:
                of = target_found.get((data, name), {}).get((config.part, sampling))
                found[name] = {} if of is None else found_groups(asked, of)
            cells += _cells(data, sampling, read, groups_of(asked, past, counts), found)
            values = {name: one.by_user[:, :, 0] for name, one in read.items()}
            best = max(values, key=lambda name: values[name].mean())
            pairs += [_pair(data, sampling, values, best, rival) for rival in values if rival != best]
            planned += [_pair(data, sampling, values, *names) for names in comparisons]
    adjusted = holm({str(number): pair.p for number, pair in enumerate(planned)})
    return Summary(
        metric=PRIMARY,
        chance={name: chance(examples.manifest["config"]["candidates"]) for name, examples in frozen.items()},
        cells=cells,
        pairs=pairs,
        planned=[pair.model_copy(update={"p_holm": p}) for pair, p in zip(planned, adjusted.values(), strict=True)],
        notes={
            name: {
                **{key: examples.manifest.get(key) for key in _NOTED},
                **({} if name not in corpora else _coverage(config, examples, corpora[name])),
            }
            for name, examples in frozen.items()
        },
    )


def _pair(data: str, sampling: str, values: Mapping[str, npt.NDArray[np.float64]], system: str, rival: str) -> Pair:
    """`values`: of each system, the primary metric of each user, (seeds, users)."""
    compared = compare(values[system], values[rival])
    return Pair(
        data=data,
        sampling=sampling,
        system=system,
        rival=rival,
        difference=_ends(compared.difference),
        gain=None if compared.gain is None else _ends(compared.gain),
        p=compared.p,
        detectable=None if math.isnan(compared.detectable) else compared.detectable,  # JSON has no nan
        freedom=compared.freedom,
    )


_NOTED = (
    "filtered",
    "left_out",
    "redrawn",
    "window",
    *(f"{what}{own}" for what in ("matching", "matching covered") for own in ("", JUDGED)),
)


def _coverage(config: EvalConfig, examples: FrozenExamples, corpus: Corpus) -> dict[str, Any]:
    """Of how many targets, and of how many other candidates, the corpus tells."""
    pages = corpus.pages_of()
    return {
        f"page coverage, {sampling}": coverage(examples.examples(config.part, sampling), pages).model_dump()
        for sampling in examples.samplings
    }


def write_summary(folder: Path, summary: Summary) -> None:
    """Write summary.json, whole or not at all."""
    write_whole_text(folder / SUMMARY_FILE, json.dumps(summary.model_dump(mode="json"), indent=1) + "\n")


def read_summary(folder: Path) -> Summary:
    """The summary of a finished run. Raises `ConfigurationError` where there is none."""
    try:
        return Summary.model_validate_json((folder / SUMMARY_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ConfigurationError(
            f"{folder}: it holds no finished evaluation; finish it with webrec eval --resume {folder}"
        ) from None


@dataclass(frozen=True)
class _Read:
    """The rows of one system. `by_user`: (seeds, users, metrics); `primary`: of each example, over seeds; `costs`: means."""

    by_user: npt.NDArray[np.float64]
    primary: npt.NDArray[np.float64]
    users: list[str]
    costs: npt.NDArray[np.float64]


_COSTS = ("seconds", "tokens_read", "tokens_written")


def _read(system: str, fits: Sequence[Fit], store: RowStore, sampling: str) -> _Read:
    per_seed, keys, costs, primary = [], None, [], []
    for fit in fits:
        rows = store.read([p for p in fit.pieces if p.sampling == sampling], ["key", "user", "rank", *_COSTS])
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
        per_seed.append(np.stack([np.bincount(place, values[m]) / counts for m in METRICS], axis=1)[order])
        primary.append(values[PRIMARY])
        costs.append([float(np.mean(rows[name].to_numpy())) for name in _COSTS])
    return _Read(np.stack(per_seed), np.mean(primary, axis=0), users.tolist(), np.mean(costs, axis=0))


def _cells(
    data: str,
    sampling: str,
    read: Mapping[str, _Read],
    groups: Mapping[str, Sequence[str]],
    found: Mapping[str, Mapping[str, Sequence[str]]],
) -> list[Cell]:
    """A cell for each system. All systems' columns lie side by side: the users are drawn anew once, not once for each system."""
    some = next(iter(read.values()))
    means = _means(read)
    grouped = breakdown(np.stack([one.primary for one in read.values()], axis=1), some.users, groups)
    cells = []
    for number, (system, one) in enumerate(read.items()):
        told = {kind: {name: columns[number] for name, columns in named.items()} for kind, named in grouped.items()}
        for kind, named in breakdown(one.primary[:, None], one.users, found[system]).items():
            told[kind] = {name: columns[0] for name, columns in named.items()}
        cells.append(
            Cell(
                data=data,
                sampling=sampling,
                system=system,
                users=one.by_user.shape[1],
                examples=len(one.primary),
                seeds=len(one.by_user),
                metrics=dict(zip(METRICS, map(_ends, means[system]), strict=True)),
                spread={m: seed_spread(one.by_user[:, :, n]) for n, m in enumerate(METRICS)}
                if len(one.by_user) > 1
                else {},
                groups={kind: {n: (i.users, *_ends(i)) for n, i in named.items()} for kind, named in told.items()},
                **dict(zip((f"{name}_per_example" for name in _COSTS), map(float, one.costs), strict=True)),
            )
        )
    return cells


def _means(read: Mapping[str, _Read]) -> dict[str, list[Interval]]:
    """The interval of each metric of each system, over users and seeds: those with as many seeds side by side."""
    means: dict[str, list[Interval]] = {}
    for seeds in {len(one.by_user) for one in read.values()}:
        own = [name for name, one in read.items() if len(one.by_user) == seeds]
        found = intervals(np.concatenate([read[name].by_user for name in own], axis=2))
        means |= {name: found[n * len(METRICS) : (n + 1) * len(METRICS)] for n, name in enumerate(own)}
    return means


def _ends(interval: Interval) -> tuple[float, float, float]:
    return round(interval.mean, 6), round(interval.low, 6), round(interval.high, 6)
