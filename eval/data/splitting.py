"""Who is asked for what, and what may be learned from: leave-one-out, or one moment in time for all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from webrec.errors import InputError
from webrec.eval.data.dataset import Dataset, Interaction, TrainingData
from webrec.tools.text_safety import normalised

DAY = 86_400
"""Seconds; days are those of UTC."""


@dataclass(frozen=True, slots=True)
class Case:
    """A user's target and everything they took before it, oldest first: an example without candidates."""

    user: str
    past: tuple[Interaction, ...]
    target: Interaction

    @property
    def same_day(self) -> bool | None:
        """Whether the last item before the target was taken on its day; None where a time is unknown."""
        last = self.past[-1]
        if last.time is None or self.target.time is None:
            return None
        return last.time // DAY == self.target.time // DAY


@dataclass(frozen=True, slots=True)
class Split:
    """Training sequences, and the cases of validation and test, of which there may be none.

    `left_out`: why and how many cases were not made.
    """

    training: TrainingData
    validation: tuple[Case, ...]
    test: tuple[Case, ...]
    left_out: dict[str, int]


def leave_one_out(dataset: Dataset) -> Split:
    """Test on each user's last item, validate on the one before, train on all that came earlier.

    Users with fewer than three items only train. A target that the user already took, or that has the title of such an
    item, makes no case, since a copier would win it.
    """
    left_out: Counter[str] = Counter()
    sequences: dict[str, tuple[Interaction, ...]] = {}
    validation: list[Case] = []
    test: list[Case] = []
    for user, taken in dataset.users.items():
        if len(taken) < 3:
            left_out["users with fewer than three items"] += 1
            sequences[user] = taken
            continue
        sequences[user] = taken[:-2]
        for name, end, cases in (("validation", -2, validation), ("test", -1, test)):
            _add(dataset, Case(user, taken[:end], taken[end]), name, cases, left_out)
    return _split(dataset, sequences, validation, test, left_out)


def time_cut(dataset: Dataset, share: float = 0.1) -> Split:
    """One moment for all: the last `share` of interactions tests, the `share` before it validates, the rest trains.

    A case is the first item that a user took in the period, given at least one before the period began; its past is
    everything earlier, so nothing that anyone did later is ever learned from. Raises `InputError` without times, and where a user's
    items stand in another order than their times.
    """
    if not 0 < share < 0.5:
        raise InputError("share: it must be above 0 and below 0.5")
    times = sorted(t.time for taken in dataset.users.values() for t in taken if t.time is not None)
    if len(times) < dataset.interactions():
        raise InputError(f"protocol: {dataset.name} has interactions without a time; use leave_one_out")
    first, second = times[int(len(times) * (1 - 2 * share))], times[int(len(times) * (1 - share))]
    left_out: Counter[str] = Counter()
    sequences: dict[str, tuple[Interaction, ...]] = {}
    validation: list[Case] = []
    test: list[Case] = []
    for user, taken in dataset.users.items():
        known = [t.time for t in taken if t.time is not None]
        if known != sorted(known):
            raise InputError(
                f"protocol: the times of user {user} in {dataset.name} do not ascend in the order of its positions, and time_cut "
                "would learn from what came later; leave the positions out, or use leave_one_out"
            )
        places = {"training": _before(known, first), "validation": _before(known, second), "test": len(taken)}
        sequences[user] = taken[: places["training"]]
        for name, begin, end, cases in (
            ("validation", places["training"], places["validation"], validation),
            ("test", places["validation"], places["test"], test),
        ):
            if begin == end:
                left_out[f"{name}: users with nothing in the period"] += 1
            elif begin == 0:
                left_out[f"{name}: users with nothing before the period"] += 1
            else:
                _add(dataset, Case(user, taken[:begin], taken[begin]), name, cases, left_out)
    return _split(dataset, {u: s for u, s in sequences.items() if s}, validation, test, left_out)


def tuning_cases(dataset: Dataset, training: TrainingData, count: int, seed: int) -> tuple[Case, ...]:
    """`count` windows of the training sequences, users in turn, each ending at a random item; all there are, if fewer.

    The same rules as for tests: a target that the user took before, or with the title of such an item, makes no case.
    """
    generator = np.random.default_rng(seed)
    ends = {
        user: generator.permutation(np.arange(1, len(sequence))).tolist()
        for user, sequence in training.sequences.items()
        if len(sequence) > 1
    }
    cases: list[Case] = []
    left_out: Counter[str] = Counter()
    users = list(ends)
    while users and len(cases) < count:
        for place in generator.permutation(len(users)).tolist():
            if len(cases) < count:
                user = users[place]
                end = ends[user].pop()
                taken = dataset.users[user]
                _add(dataset, Case(user, taken[:end], taken[end]), "tuning", cases, left_out)
        users = [user for user in users if ends[user]]
    return tuple(cases)


def _before(times: Sequence[int], moment: int) -> int:
    return sum(time < moment for time in times)


def _add(dataset: Dataset, case: Case, name: str, cases: list[Case], left_out: Counter[str]) -> None:
    titles = {normalised(dataset.items[t.item_id].title) for t in case.past}
    if case.target.item_id in {t.item_id for t in case.past}:
        left_out[f"{name}: the target is in the history"] += 1
    elif normalised(dataset.items[case.target.item_id].title) in titles:
        left_out[f"{name}: the target's title is in the history"] += 1
    else:
        cases.append(case)


def _split(
    dataset: Dataset,
    sequences: dict[str, tuple[Interaction, ...]],
    validation: list[Case],
    test: list[Case],
    left_out: Counter[str],
) -> Split:
    ids = {user: tuple(t.item_id for t in taken) for user, taken in sequences.items()}
    counts = dict(Counter(item for sequence in ids.values() for item in sequence))
    training = TrainingData(dataset.items, ids, counts)
    return Split(training, tuple(validation), tuple(test), dict(sorted(left_out.items())))
