"""What does the work of an evaluation, piece by piece: the same object in a plain loop and on another machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from webrec.eval.data.dataset import RankingExample
from webrec.eval.data.frozen import FrozenExamples
from webrec.eval.evaluation.config import EvalConfig, system_name
from webrec.eval.evaluation.other_history import with_other_histories
from webrec.eval.evaluation.plan import Fit, examples_of
from webrec.eval.evaluation.rows import Piece
from webrec.eval.retrieval.corpus import Corpus
from webrec.eval.retrieval.found import SearchPiece
from webrec.eval.retrieval.retrieve import Retrieved, Retriever
from webrec.eval.systems.build import Readings, build_system
from webrec.eval.systems.config import AnySystem
from webrec.eval.systems.fused import Scores
from webrec.eval.systems.system import Answer, System, answers
from webrec.models.backbone import number_format
from webrec.models.config import BackboneConfig
from webrec.nodes.query_strategies import BUILTIN, strategy_of

OnEvent = Callable[[dict[str, Any]], None]
ScoresOf = Callable[[str, int], Scores]
FitKey = tuple[str, str, int]
"""Data set, system and training seed."""


@dataclass(frozen=True)
class Material:
    """What there is of one data set: the examples, and the pages that can be found."""

    frozen: FrozenExamples
    corpus: Corpus | None


class Worker:
    """Searches and answers. It keeps what it loaded for the last piece: pieces of one kind should come one after the other.

    `systems`: folder in which trainings are kept. `readings`: by data set, what was found; to be filled before anything is answered.
    `scores`: by data set and seed, what was answered before; for systems that are fused of others.
    """

    def __init__(
        self,
        config: EvalConfig,
        materials: Mapping[str, Material],
        readings: Mapping[str, Readings],
        systems: Path,
        on_event: OnEvent = lambda _: None,
        scores: ScoresOf | None = None,
    ) -> None:
        self._config, self._materials, self._readings = config, materials, readings
        self._folder, self._on_event, self._scores = systems, on_event, scores
        self._examples: tuple[tuple[str, str, str], list[RankingExample]] | None = None
        self._retriever: tuple[tuple[str, str], Retriever] | None = None
        self._system: tuple[FitKey, System] | None = None

    def search(self, piece: SearchPiece) -> list[Retrieved]:
        """What is found for a piece's examples. Raises `SearchError` if a search failed for good."""
        key = piece.data, piece.retrieval
        if self._retriever is None or self._retriever[0] != key:
            material = self._materials[piece.data]
            (retrieval,) = (r for r in self._config.retrievals if r.name == piece.retrieval)
            threads = self._config.threads
            self._retriever = key, Retriever(retrieval, material.frozen.items, material.corpus, threads=threads)
            strategy = strategy_of(retrieval, BUILTIN)
            if strategy is not None and strategy.question is not None:  # else the backbone is asked nothing
                self._computes(f"retrieval {retrieval.name}", retrieval)
        return self._retriever[1].retrieve(
            self.examples(piece.data, piece.part, piece.sampling, piece.begin, piece.end)
        )

    def answer(self, piece: Piece) -> list[Answer]:
        """What a piece's system says of its examples."""
        system = self.fit((piece.data, piece.system, piece.seed))
        part = "validation" if piece.fitting else self._config.part
        asked = self.examples(piece.data, part, piece.sampling, piece.begin, piece.end)
        if self._chosen(piece.system).history == "other":
            every = self.examples(piece.data, part, piece.sampling, 0, None)
            asked = with_other_histories(every)[piece.begin : piece.end]
        return answers(system, asked)

    def fit(self, key: FitKey) -> System:
        """The system, once it has learned what it learns; a training goes on where it was stopped."""
        if self._system is not None and self._system[0] == key:
            return self._system[1]
        data, name, seed = key
        told = {"data": data, "system": name, "seed": seed}
        self._system = None  # a model fewer in memory
        self._on_event({"event": "fitting", **told})

        def hear(event: dict[str, Any]) -> None:
            self._on_event({**event, **told, "event": f"training {event['event']}"})

        frozen, config = self._materials[data].frozen, self._config
        chosen = self._chosen(name)
        folder = fit_folder(self._folder, (data, self._trained_as(chosen), seed))
        scores = self._scores(data, seed) if self._scores and chosen.kind == "fused" else None
        system = build_system(chosen, folder, config.threads, self._readings[data], seed, hear, scores)
        system.fit(frozen.training(), seed, validation_examples(frozen))
        self._on_event({"event": "fitted", **told})
        if isinstance(chosen, BackboneConfig):
            self._computes(name, chosen)
        self._system = key, system
        return system

    def _computes(self, name: str, backbone: BackboneConfig) -> None:
        """Say in which format: with `auto` it is the machine's."""
        self._on_event({"event": "computes", "name": name, "format": number_format(backbone)})

    def _trained_as(self, system: AnySystem) -> str:
        """The first system that learns the same in this process: one that is asked with another history need not learn again."""
        if system.kind not in {"sasrec", "learned_similarity"}:
            return system_name(system)
        told = _learning(system)
        return next(system_name(each) for each in self._config.systems if _learning(each) == told)

    def _chosen(self, name: str) -> AnySystem:
        (chosen,) = (system for system in self._config.systems if system_name(system) == name)
        return chosen

    def examples(self, data: str, part: str, sampling: str, begin: int, end: int | None) -> list[RankingExample]:
        """Those that a piece stands for."""
        key = data, part, sampling
        if self._examples is None or self._examples[0] != key:
            self._examples = key, examples_of(self._config, self._materials[data].frozen, part, sampling)
        return self._examples[1][begin:end]


def _learning(system: AnySystem) -> dict[str, Any]:
    return system.model_dump(exclude={"name", "history"})


def fit_folder(systems: Path, key: FitKey) -> Path:
    """Where a training is kept."""
    return systems / key[0] / key[1] / f"seed-{key[2]}"


def validation_examples(frozen: FrozenExamples) -> list[RankingExample]:
    """What a system may look at to decide when to stop: one draw of each sampling for each validation user."""
    return [e for sampling in frozen.samplings for e in frozen.examples("validation", sampling) if e.draw == 0]


class Workers(Protocol):
    """One worker or many: results come as they are ready, each piece once."""

    def machines(self) -> dict[str, Any]:
        """What the run's description says of where it ran."""

    def search(self, pieces: Sequence[SearchPiece]) -> Iterator[tuple[SearchPiece, list[Retrieved]]]:
        """What is found for each piece."""

    def answer(self, fits: Iterable[Fit], pieces: Sequence[Piece]) -> Iterator[tuple[Piece, list[Answer]]]:
        """What the systems of `fits` say of each piece."""


class PlainLoop:
    """One worker, in this process."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def machines(self) -> dict[str, Any]:
        """Nothing beyond what is said of every run."""
        return {}

    def search(self, pieces: Sequence[SearchPiece]) -> Iterator[tuple[SearchPiece, list[Retrieved]]]:
        """What is found for each piece."""
        return ((piece, self._worker.search(piece)) for piece in pieces)

    def answer(self, fits: Iterable[Fit], pieces: Sequence[Piece]) -> Iterator[tuple[Piece, list[Answer]]]:
        """What the systems say of each piece."""
        return ((piece, self._worker.answer(piece)) for piece in pieces)
