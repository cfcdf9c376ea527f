"""An evaluation's worker on another process or machine, and what is sent to it."""

from __future__ import annotations

import base64
import json
import os
import platform
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from webrec.cache_folder import build_once, cache_root
from webrec.errors import ConfigurationError, WebRecError
from webrec.eval.data.frozen import FrozenExamples
from webrec.eval.evaluation.config import EvalConfig
from webrec.eval.evaluation.rows import Piece
from webrec.eval.evaluation.worker import FitKey, Material, Worker, fit_folder
from webrec.eval.retrieval.corpus import ABOUT, PAGES, Corpus
from webrec.eval.retrieval.found import SearchPiece
from webrec.eval.systems.build import Readings
from webrec.eval.systems.kept_training import training_files


@dataclass(frozen=True)
class Shipped:
    """A data set on its way; of the corpus the pages themselves."""

    frozen: FrozenExamples
    corpus: Corpus | None
    pages: bytes


@dataclass(frozen=True)
class Shipment:
    """What every worker is sent: settings, and references to what lies in Ray's store. `digest`: of settings, examples and what was found for them."""

    config: dict[str, Any]
    digest: str
    materials: Mapping[str, Any]
    board: Any
    gpus: float = 0.0
    readings: dict[str, Any] = field(default_factory=dict)
    trained: dict[FitKey, Any] = field(default_factory=dict)
    version: str = field(default_factory=lambda: version("webrec"))


def trained_files(folder: Path) -> dict[str, bytes]:
    """What of a training is needed to use it and to tell how it went, by path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in training_files(folder / "run")}


def ship(material: Material) -> Shipped:
    """The data set with its pages."""
    pages = b"" if material.corpus is None else material.corpus.path.read_bytes()
    return Shipped(material.frozen, material.corpus, pages)


def unpack(shipped: Shipped) -> Material:
    """The data set with its pages in this machine's cache."""
    if (corpus := shipped.corpus) is None:
        return Material(shipped.frozen, None)

    def write(folder: Path) -> None:
        (folder / PAGES).write_bytes(shipped.pages)
        (folder / ABOUT).write_text(corpus.about_file(), encoding="utf-8")

    here = build_once(cache_root() / "corpora" / corpus.digest[:16], write)
    return Material(shipped.frozen, replace(corpus, path=here / PAGES))


class _Fetched(Mapping[str, Any]):
    """Values that are fetched from Ray's store when first asked for."""

    def __init__(self, references: Mapping[str, Any], unpacked: Any = lambda value: value) -> None:
        self._references, self._unpacked, self._here = references, unpacked, dict[str, Any]()

    def __getitem__(self, key: str) -> Any:
        import ray

        if key not in self._here:
            self._here[key] = self._unpacked(ray.get(self._references[key]))
        return self._here[key]

    def __iter__(self) -> Any:
        return iter(self._references)

    def __len__(self) -> int:
        return len(self._references)


class RemoteWorker:
    """Does one job a call: `[number, what, on what]` as JSON in the column `job`; gives the columns `number`, `result` and `where`.

    An error that we raise on purpose is a result: trying again would not help. Any other is Ray's.
    """

    def __init__(self, shipment: Shipment) -> None:
        if not shipment.gpus:
            # Ray leaves an actor without GPUs all that its machine has; what is not in the budget must not be seen.
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        self._shipment, self._folder = shipment, tempfile.TemporaryDirectory(prefix="webrec-")
        self._config = EvalConfig.model_validate(shipment.config)
        self._materials: Mapping[str, Material] = _Fetched(shipment.materials, unpack)
        self._readings: Mapping[str, Readings] = _Fetched(shipment.readings)
        # A training that a lost worker began goes on where the same machine has it; answers need what is finished.
        self._trainings = cache_root() / "evaluations" / shipment.digest
        self._worker = self._made(Path(self._folder.name))
        self._trainer = self._made(self._trainings)

    def _made(self, systems: Path) -> Worker:
        def tell(event: dict[str, Any]) -> None:
            if event["event"] != "fitted" and not (event["event"] == "fitting" and systems != self._trainings):
                self._shipment.board.put.remote(event)

        return Worker(self._config, self._materials, self._readings, systems, tell)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The job of the batch, which is one row."""
        number, do, job = json.loads(batch["job"][0])
        try:
            if (own := version("webrec")) != self._shipment.version:
                raise ConfigurationError(
                    f"ray: {platform.node()} has webrec {own} and this process {self._shipment.version}; install the same "
                    "version on every machine"
                )
            result = getattr(self, f"_{do}")(job)
        except WebRecError as error:
            result = {"error": type(error).__name__, "message": str(error)}
        where = {"machine": platform.node(), "process": os.getpid(), "cache": str(cache_root())}
        return {"number": [number], "result": [json.dumps(result)], "where": [json.dumps(where)]}

    def _search(self, job: dict[str, Any]) -> list[dict[str, Any]]:
        return [asdict(found) for found in self._worker.search(SearchPiece(**job))]

    def _train(self, job: list[Any]) -> dict[str, str]:
        key: FitKey = (job[0], job[1], job[2])
        self._trainer.fit(key)
        files = trained_files(fit_folder(self._trainings, key))
        return {name: base64.b64encode(content).decode() for name, content in files.items()}

    def _answer(self, job: dict[str, Any]) -> list[dict[str, Any]]:
        import ray

        piece = Piece(**job)
        key = (piece.data, piece.system, piece.seed)
        folder = fit_folder(Path(self._folder.name), key)
        if key in self._shipment.trained and not folder.exists():
            for name, content in ray.get(self._shipment.trained[key]).items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(content)
        return [asdict(answer) for answer in self._worker.answer(piece)]
