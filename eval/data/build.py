"""From a data set's folder to its frozen examples, made once and found again by what they are made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from webrec.errors import InputError, missing_extra
from webrec.eval.data.candidates import CandidateSampler, Sampling, check_matching, matching
from webrec.eval.data.config import WINDOWS, DataConfig, checked_name
from webrec.eval.data.dataset import Dataset, Item, TrainingData
from webrec.eval.data.filtering import Filtered, filter_dataset
from webrec.eval.data.frozen import FORMAT, FrozenExamples, Part, make_table, read_frozen, write_frozen
from webrec.eval.data.same_time import shuffle_same_time
from webrec.eval.data.source import find_source
from webrec.eval.data.splitting import Case, Split, leave_one_out, time_cut, tuning_cases

JUDGED = " as judged"
"""After the name of a check of matched sets that was made on `_SETS` of them, as the manifest has it."""
_TRIED = 2_000
"""Test cases that the way of drawing is judged on, at most."""
_SETS, _MOST_DRAWS = 10_000, 50
"""Candidate sets that it is judged on, and how many of one user at most: those of a few hundred lean one way by chance."""
Progress = Callable[[str], None]


def frozen_examples(
    config: DataConfig,
    folder: Path,
    progress: Progress = lambda _: None,
    covered: Callable[[Mapping[str, Item]], Iterable[str]] = lambda _: (),
) -> FrozenExamples:
    """The frozen examples of `config`, from `folder` if they were made before. `progress` hears what is being done.

    `covered`: from a data set's items, the ids of those that pages tell of; asked for the sampling of that name alone. The file's name holds a hash of the source files and the configuration: other data or settings make another file. Raises
    `InputError` for wrong data, `ConfigurationError` for a damaged file, a full disk or a name that files cannot have,
    `MissingExtraError` without the extra `eval`.
    """
    if find_spec("pyarrow") is None:
        raise missing_extra("eval", "pyarrow")
    name = checked_name(config)
    progress("reading")
    source = find_source(config.path)
    sources = source_hashes(source.files)
    told = config.model_dump(mode="json", exclude={"path"})
    loaded, tied = in_order(config, source.load(name))
    dataset, removed = filter_dataset(loaded, config.min_interactions)
    pages = sorted(set(covered(dataset.items))) if "covered" in config.samplings else []
    made_of = [FORMAT, told, sources, *([pages] if pages else [])]
    key = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:16]
    path = folder / f"{name}-{key}.parquet"
    if not path.exists():
        split = leave_one_out(dataset) if config.protocol == "leave_one_out" else time_cut(dataset)
        if not split.test:
            raise InputError(_no_test(config, loaded, dataset, removed, split.left_out))
        manifest, table = _make(config, dataset, split, frozenset(pages), progress)
        write_frozen(
            path,
            table,
            {
                "name": name,
                "config": told,
                "sources": sources,
                "filtered": asdict(removed),
                "shuffled_for_equal_times": tied,
                "left_out": split.left_out,
                **manifest,
            },
        )
    return read_frozen(path, dataset.items, _times(dataset))


def in_order(config: DataConfig, dataset: Dataset) -> tuple[Dataset, int]:
    """The data set with what was taken at the same time as `config` wants it, and how many interactions were shuffled."""
    return shuffle_same_time(dataset, config.seed) if config.same_time == "shuffled" else (dataset, 0)


def _no_test(
    config: DataConfig, loaded: Dataset, dataset: Dataset, removed: Filtered, left_out: Mapping[str, int]
) -> str:
    """Why no user can be tested: what the protocol left out, and what the filter had left for it."""
    reasons = [
        f"{why.removeprefix('test: ')}: {n:,}" for why, n in left_out.items() if not why.startswith("validation")
    ]
    causes, fixes = [], []
    if removed.interactions > removed.untitled_interactions:
        causes.append(f"min_interactions {config.min_interactions}")
        fixes.append("lower min_interactions")
    if removed.untitled_interactions:
        causes.append("missing titles")
        fixes.append("add titles")
    users = f"{len(dataset.users):,} of {len(loaded.users):,} users"
    left = f", and {' and '.join(causes)} left {users}" if causes else ""
    needs = (
        "each user needs three items, the last new by id and title"
        if config.protocol == "leave_one_out"
        else "each user needs an item before the last tenth of the interactions and one in it, new by id and title"
    )
    return (
        f"protocol: no user of {dataset.name} makes a test ({'; '.join(reasons)}){left}; "
        f"{' or '.join(fixes)}{': ' if fixes else ''}{needs}"
    )


def _times(dataset: Dataset) -> dict[str, tuple[int, ...]]:
    """Of each user's steps; nothing where one is unknown."""
    times = {user: tuple(t.time for t in taken if t.time is not None) for user, taken in dataset.users.items()}
    return times if all(len(times[user]) == len(taken) for user, taken in dataset.users.items()) else {}


def source_hashes(files: Sequence[Path]) -> dict[str, str]:
    """SHA-256 of each file that the data set is read from."""
    hashes = {}
    for path in files:
        with path.open("rb") as file:
            hashes[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashes


def _make(
    config: DataConfig, dataset: Dataset, split: Split, covered: frozenset[str], progress: Progress
) -> tuple[dict[str, Any], Any]:
    cases: dict[Part, Sequence[Case]] = {
        "tuning": tuning_cases(dataset, split.training, config.tuning_examples, config.seed),
        "validation": _some(split.validation, config.validation_users, config.seed),
        "test": _some(split.test, config.test_users, config.seed),
    }
    taken = {user: frozenset(t.item_id for t in interactions) for user, interactions in dataset.users.items()}
    window, judged = config.candidates, [sampling for sampling in config.samplings if sampling != "uniform"]
    make = partial(_sampler, config, split.training, taken, covered)
    tried = _some(split.test, _TRIED, config.seed)
    if judged:
        progress(f"choosing the window of {judged[0]} candidates")
        window = config.window or _widest(config, split.training, make, tried, judged[0])
    sampler = make(window, config.draws)
    samplers: dict[Part, CandidateSampler] = {
        "tuning": replace(sampler, draws=1, part="tuning"),
        "validation": replace(sampler, part="validation"),
        "test": sampler,
    }
    drawn: dict[tuple[Part, Sampling], list[list[tuple[str, ...]]]] = {}
    for part, own in cases.items():
        for sampling in config.samplings:
            progress(f"drawing {sampling} candidates for {len(own):,} users ({part})")
            drawn[part, sampling] = [samplers[part].draw(case, sampling) for case in own]
    told: dict[str, Any] = {"items": sorted(dataset.items), "redrawn": dict(sampler.redrawn), "window": window}
    for sampling in judged:
        name = "matching" if sampling == "matched" else f"matching {sampling}"
        # The sets that are tested may lean one way by chance where they are few; it is the way of drawing that must not.
        told[name] = matching(split.training, cases["test"], drawn["test", sampling])
        if len(cases["test"]) * config.draws >= _SETS:
            check_matching(split.training, cases["test"], drawn["test", sampling], window=window)
        else:
            many = make(window, _draws(tried))
            sets = [many.sets(case, sampling) for case in tried]
            told[name + JUDGED] = check_matching(split.training, tried, sets, window=window)
    table = make_table(split.training.sequences, cases, drawn, config.samplings, told["items"])
    return told, table


def _some(cases: Sequence[Case], most: int | None, seed: int) -> Sequence[Case]:
    """`most` of the cases, drawn by `seed`, in their order."""
    if most is None or len(cases) <= most:
        return cases
    chosen = np.random.default_rng(seed).choice(len(cases), most, replace=False)
    return [cases[place] for place in sorted(chosen.tolist())]


def _sampler(
    config: DataConfig,
    training: TrainingData,
    taken: Mapping[str, frozenset[str]],
    covered: frozenset[str],
    window: int,
    draws: int,
) -> CandidateSampler:
    return CandidateSampler(training, taken, config.candidates, draws, config.seed, window, covered)


def _draws(tried: Sequence[Case]) -> int:
    """How many sets of each user make `_SETS`."""
    return min(_MOST_DRAWS, -(-_SETS // len(tried)))


def _widest(
    config: DataConfig,
    training: TrainingData,
    make: Callable[[int, int], CandidateSampler],
    tried: Sequence[Case],
    sampling: Sampling,
) -> int:
    """The widest window whose sets tell popularity nothing; only the candidates' counts are looked at, never a system."""
    for window in WINDOWS:
        if config.candidates < window < len(training.items):
            sampler = make(window, _draws(tried))
            try:
                check_matching(training, tried, [sampler.sets(case, sampling) for case in tried], tolerance=0.015)
            except InputError:
                continue
            return window
    return config.candidates
