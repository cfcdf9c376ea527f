"""What a system is to the evaluation, and the one way in which it is asked."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from webrec.errors import InputError, WebRecError
from webrec.eval.data.dataset import RankingExample, TrainingData


class System(Protocol):
    """Anything that ranks candidates.

    What it reads beside the example (pages, a model, a budget) is handed to its constructor, never to `rank`: two systems
    then always see the same examples. docs/evaluate.md says what is promised; `SystemContract` in the tests checks it.
    """

    name: str

    def fit(self, training: TrainingData, seed: int, validation: Sequence[RankingExample] = ()) -> None:
        """Learn from `training` alone; `validation` may only say when to stop. Forgets what an earlier call learned."""

    def rank(self, example: RankingExample) -> list[float]:
        """A finite score for each of `example.candidates`, in their order; higher is better."""

    def rank_many(self, examples: Sequence[RankingExample]) -> list[list[float]]:
        """`rank` of each, perhaps faster."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a system said of one example, and what that cost.

    `seconds`: wall time, for a batch its even share. `tokens_read`, `tokens_written`: of every model call. `searches`:
    calls that a provider answered or would have billed.
    """

    scores: tuple[float, ...]
    seconds: float
    tokens_read: int = 0
    tokens_written: int = 0
    searches: int = 0


@runtime_checkable
class CostlySystem(Protocol):
    """A system that knows what each answer cost."""

    def answer_many(self, examples: Sequence[RankingExample]) -> list[Answer]:
        """As `rank_many`, with the costs."""


class OneByOne:
    """For systems that gain nothing from batches: `rank_many` from `rank`."""

    def rank(self, example: RankingExample) -> list[float]:
        """To be written by the system."""
        raise NotImplementedError

    def rank_many(self, examples: Sequence[RankingExample]) -> list[list[float]]:
        """`rank` of each."""
        return [self.rank(example) for example in examples]


class NotFittedError(WebRecError):
    """A system was asked before it was fitted."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the system {name} has learned nothing yet; call fit first")


def answers(system: System, examples: Sequence[RankingExample]) -> list[Answer]:
    """Ask `system` for `examples`, without showing it any target, and check what it says.

    Raises `InputError` where an answer is missing, or has not one finite score for each candidate.
    """
    hidden = [replace(example, target="") for example in examples]
    started = time.perf_counter()
    if isinstance(system, CostlySystem):
        given = system.answer_many(hidden)
    else:
        ranked = system.rank_many(hidden)
        share = (time.perf_counter() - started) / max(1, len(hidden))
        given = [Answer(tuple(scores), share) for scores in ranked]
    if len(given) != len(examples):
        raise InputError(f"the system {system.name} answered {len(given)} of {len(examples)} examples")
    for example, answer in zip(examples, given, strict=True):
        if len(answer.scores) != len(example.candidates):
            raise InputError(
                f"the system {system.name} gave {len(answer.scores)} scores for the {len(example.candidates)} candidates "
                f"of example {example.key}"
            )
        if not all(math.isfinite(score) for score in answer.scores):
            raise InputError(
                f"the system {system.name} gave a score that is no finite number for example {example.key}"
            )
    return given
