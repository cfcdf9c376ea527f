"""Everything that an evaluation is to search for and to ask, cut into pieces that are kept one by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from webrec.eval.data.dataset import RankingExample
from webrec.eval.data.frozen import FrozenExamples, Part
from webrec.eval.evaluation.config import EvalConfig, retrieval_of, system_name
from webrec.eval.evaluation.rows import Piece
from webrec.eval.retrieval.found import SearchPiece, search_pieces
from webrec.eval.systems.config import SMALL_PIECES, AnySystem, FusedConfig, LanguageModelConfig, is_learned

PIECE = 4096
"""Examples asked together by a quick system: what is lost, at most, when a run is killed."""


@dataclass(frozen=True)
class Fit:
    """One system learning from one data set with one seed, and the pieces that it then answers.

    `fitting`: those of the validation part, for the systems that are fused of this one.
    """

    data: str
    system: AnySystem
    seed: int
    pieces: tuple[Piece, ...]
    fitting: tuple[Piece, ...] = ()


def plan(config: EvalConfig, frozen: Mapping[str, FrozenExamples]) -> list[Fit]:
    """Everything that is to be asked, in order."""
    fits = []
    for data, examples in frozen.items():
        for system in config.systems:
            for seed in seeds_of(config, system):
                name = system_name(system)
                fitting = config.part == "test" and name in inputs_of(config)
                fits.append(
                    Fit(
                        data,
                        system,
                        seed,
                        _pieces(examples, config.part, data, system, seed, fitting=False),
                        _pieces(examples, "validation", data, system, seed, fitting=True) if fitting else (),
                    )
                )
    return fits


def _pieces(
    examples: FrozenExamples, part: Part, data: str, system: AnySystem, seed: int, *, fitting: bool
) -> tuple[Piece, ...]:
    size, count = min(PIECE, SMALL_PIECES.get(system.kind, PIECE)), examples.count(part)
    return tuple(
        Piece(data, sampling, system_name(system), seed, begin, min(begin + size, count), fitting)
        for sampling in examples.samplings
        for begin in range(0, count, size)
    )


def seeds_of(config: EvalConfig, system: AnySystem) -> tuple[int, ...]:
    """The training seeds that a system is fitted with: the first alone where nothing of it depends on chance."""
    if isinstance(system, FusedConfig):
        by_name = {system_name(s): s for s in config.systems}
        return max((seeds_of(config, by_name[name]) for name in system.inputs), key=len, default=config.seeds[:1])
    return config.seeds if is_learned(system) else config.seeds[:1]


def inputs_of(config: EvalConfig) -> set[str]:
    """The names of all systems that others are fused of."""
    return {name for system in config.systems if isinstance(system, FusedConfig) for name in system.inputs}


def searches(config: EvalConfig, frozen: Mapping[str, FrozenExamples]) -> list[SearchPiece]:
    """Everything that is to be searched for, in order: each retrieval that a system reads, for every example it reads it for."""
    pieces: list[SearchPiece] = []
    for data, examples in frozen.items():
        for retrieval in config.retrievals:
            readers = [system for system in config.systems if retrieval_of(system) == retrieval.name]
            pieces += dict.fromkeys(p for system in readers for p in searches_of(config, data, examples, system))
    return pieces


def searches_of(config: EvalConfig, data: str, examples: FrozenExamples, system: AnySystem) -> list[SearchPiece]:
    """What one system needs searched; nothing for one without a retrieval."""
    if (retrieval := retrieval_of(system)) is None:
        return []
    fused = system_name(system) in inputs_of(config)
    parts = dict.fromkeys([config.part, *(["validation"] if fused else [])])
    sets: list[tuple[str, str]] = [(part, sampling) for part in parts for sampling in examples.samplings]
    if is_tuned(system):
        sets += [("tuning", MIXED), ("validation", MIXED)]
    pieces = []
    for part, sampling in sets:
        mixed = sampling == MIXED
        count = len(examples_of(config, examples, part, MIXED)) if mixed else examples.count(part)  # type: ignore[arg-type]
        pieces += search_pieces(data, retrieval, part, sampling, count)
    return pieces


MIXED = "mixed"
"""In place of a sampling: one draw of each case, the samplings in turn."""


def examples_of(config: EvalConfig, frozen: FrozenExamples, part: str, sampling: str) -> list[RankingExample]:
    """The examples that pieces of this part and sampling number."""
    if sampling != MIXED:
        return frozen.examples(part, sampling)  # type: ignore[arg-type]
    mixed = frozen.mixed(part)  # type: ignore[arg-type]
    return mixed if part == "tuning" else mixed[: _validating(config)]


def _validating(config: EvalConfig) -> int:
    """As many validation examples as the fine-tuned system that looks at most of them."""
    tuned = [s.tune for s in config.systems if isinstance(s, LanguageModelConfig) and s.tune]
    return max((tune.validation_examples for tune in tuned), default=0)


def is_tuned(system: AnySystem) -> bool:
    """Whether the system fine-tunes a language model."""
    return isinstance(system, LanguageModelConfig) and system.tune is not None
