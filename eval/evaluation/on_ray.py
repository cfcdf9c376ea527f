"""An evaluation on Ray: pieces stream through Ray Data into model actors; the process that asked keeps every result, once.

What workers need travels through Ray: examples, pages, what was found, trained adapters. What they must have already: this
package, and the backbone (the default one each machine fetches itself).
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import math
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from webrec import errors
from webrec.errors import ConfigurationError, WebRecError
from webrec.eval.code_digest import SEARCHING, TRAINING, code_digest
from webrec.eval.evaluation.config import EvalConfig, system_name
from webrec.eval.evaluation.plan import Fit, is_tuned
from webrec.eval.evaluation.remote import RemoteWorker, Shipment, ship, trained_files
from webrec.eval.evaluation.rows import Piece
from webrec.eval.evaluation.worker import FitKey, Material, OnEvent, Workers, fit_folder
from webrec.eval.ray_cluster import event_board, machines, ray_cluster, require_ray
from webrec.eval.retrieval.found import SearchPiece
from webrec.eval.retrieval.retrieve import FoundPage, Retrieved
from webrec.eval.systems.build import Readings
from webrec.eval.systems.config import SMALL_PIECES, AnySystem
from webrec.eval.systems.system import Answer

_LOOK_SECONDS = 0.3
_STORE_BYTES = 512 * 2**20
Stop = Callable[[], bool]


@contextmanager
def ray_workers(
    config: EvalConfig,
    materials: Mapping[str, Material],
    readings: Mapping[str, Readings],
    own: Workers,
    on_event: OnEvent,
    stop: Stop,
) -> Iterator[Workers]:
    """Actors for what language models compute; `own` does the rest here. Raises `ConfigurationError` if they find no place."""
    assert config.ray is not None
    require_ray()
    on_event({"event": "ray", "actors": config.ray.actors})
    with ray_cluster(config.ray.address, _STORE_BYTES):
        _check_room(config)
        yield _RayWorkers(config, materials, readings, own, on_event, stop)


def _check_room(config: EvalConfig) -> None:
    assert config.ray is not None
    actors, threads, gpus = config.ray.actors, config.threads, config.ray.gpus
    nodes = machines()
    room = sum(math.floor(node.get("CPU", 0.0) / threads) for node in nodes)
    if room < actors:
        total = sum(node.get("CPU", 0.0) for node in nodes)
        raise ConfigurationError(
            f"ray.actors: {actors} of {threads} thread{'s' * (threads > 1)} each need more CPUs than the {total:g} of the "
            f"cluster; use at most {room}, or fewer threads"
        )
    if gpus and sum(math.floor(node.get("GPU", 0.0) / gpus) for node in nodes) < actors:
        total = sum(node.get("GPU", 0.0) for node in nodes)
        raise ConfigurationError(
            f"ray.gpus: {actors} actors need {gpus:g} each and the cluster has {total:g}; lower one"
        )


def _digest(told: Any) -> str:
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


class _RayWorkers:
    def __init__(
        self,
        config: EvalConfig,
        materials: Mapping[str, Material],
        readings: Mapping[str, Readings],
        own: Workers,
        on_event: OnEvent,
        stop: Stop,
    ) -> None:
        import ray

        self._config, self._readings, self._own = config, readings, own
        self._on_event, self._stop = on_event, stop
        self._places: set[str] = set()
        self._board: Any = event_board()
        told = config.model_dump(mode="json", exclude={"output", "ray"})
        gpus = 0.0 if config.ray is None else config.ray.gpus  # on another device a training is another one
        libraries = {name: version(name) for name in ("torch", "transformers", "peft")}
        code = [code_digest((*SEARCHING, *TRAINING)), libraries]  # what other code trained halfway is not gone on with
        self._asked = [told, gpus, {name: material.frozen.digest for name, material in materials.items()}, code]
        self._shipment = Shipment(
            config={**told, "output": "."},
            digest=_digest(self._asked),
            gpus=gpus,
            materials={name: ray.put(ship(material)) for name, material in materials.items()},
            board=self._board,
        )

    def machines(self) -> dict[str, Any]:
        """What the run's description says of where it ran."""
        assert self._config.ray is not None
        nodes = [{k: v for k, v in node.items() if k in {"CPU", "GPU", "memory"}} for node in machines()]
        return {"ray": {**self._config.ray.model_dump(mode="json", exclude={"address"}), "machines": nodes}}

    def search(self, pieces: Sequence[SearchPiece]) -> Iterator[tuple[SearchPiece, list[Retrieved]]]:
        """What is found for each piece, as it is ready."""
        for number, found in self._stream("search", [asdict(piece) for piece in pieces]):
            yield pieces[number], [_retrieved(one) for one in found]

    def answer(self, fits: Iterable[Fit], pieces: Sequence[Piece]) -> Iterator[tuple[Piece, list[Answer]]]:
        """What the systems say of each piece: quick ones first and here, then trainings, then language models, then fused ones."""
        by_name = {system_name(system): system for system in self._config.systems}
        slow = [piece for piece in pieces if by_name[piece.system].kind in SMALL_PIECES]
        fused = [piece for piece in pieces if by_name[piece.system].kind == "fused"]
        others = {*slow, *fused}
        yield from self._own.answer(fits, [piece for piece in pieces if piece not in others])
        if slow:
            yield from self._answer_slow(by_name, slow)
        yield from self._own.answer(fits, fused)

    def _answer_slow(
        self, by_name: Mapping[str, AnySystem], slow: Sequence[Piece]
    ) -> Iterator[tuple[Piece, list[Answer]]]:
        import ray

        self._shipment.readings.update({name: ray.put(readings) for name, readings in self._readings.items()})
        # Of the same settings, but other pages: another training, which must not go on in the same place.
        read = {name: readings.digest() for name, readings in self._readings.items()}
        self._shipment = replace(self._shipment, digest=_digest([self._asked, read]))
        keys = dict.fromkeys((p.data, p.system, p.seed) for p in slow if is_tuned(by_name[p.system]))
        self._train([key for key in keys if not _is_trained(self._folder(key))])
        self._shipment.trained.update({key: ray.put(trained_files(self._folder(key))) for key in keys})
        for number, given in self._stream("answer", [asdict(piece) for piece in slow]):
            yield slow[number], [Answer(**{**one, "scores": tuple(one["scores"])}) for one in given]

    def _train(self, keys: Sequence[FitKey]) -> None:
        """Train where there is a place, and bring home what the run keeps."""
        for number, files in self._stream("train", [list(key) for key in keys]):
            folder = self._folder(keys[number])
            for name, content in sorted(files.items(), key=lambda file: file[0] == "run/result.json"):
                target = folder / name  # the result last: a folder that has it is complete
                target.parent.mkdir(parents=True, exist_ok=True)
                fresh = target.with_name(f"{target.name}.new")
                fresh.write_bytes(base64.b64decode(content))
                fresh.replace(target)

    def _folder(self, key: FitKey) -> Path:
        from webrec.eval.evaluation.run import SYSTEMS

        return fit_folder(self._config.output / SYSTEMS, key)

    def _stream(self, do: str, jobs: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        """Number and result of each job, as they are ready, each once. Ray Data gives the jobs of a lost actor to another one."""
        if not jobs:
            return
        results: queue.Queue[tuple[int, str, str] | BaseException | None] = queue.Queue()
        rows = [{"job": json.dumps([number, do, job])} for number, job in enumerate(jobs)]
        threading.Thread(target=self._pump, args=(do, rows, results), daemon=True).start()
        seen: set[int] = set()
        while True:
            self._hear()
            if self._stop():
                raise KeyboardInterrupt
            try:
                result = results.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                continue
            if result is None:
                break
            if isinstance(result, BaseException):
                raise WebRecError(f"ray: {_reason(result)}; what was done is kept, call again to go on") from None
            number, told = result[0], json.loads(result[1])
            if result[2] not in self._places:
                self._places.add(result[2])
                self._on_event({"event": "actor", **json.loads(result[2])})
            if isinstance(told, dict) and "error" in told:
                raise getattr(errors, told["error"])(told["message"])
            if number not in seen:
                seen.add(number)
                yield number, told
        self._hear()

    def _pump(self, do: str, rows: list[dict[str, str]], results: queue.Queue[Any]) -> None:
        """Run Ray Data to its end, in a thread of its own so that events are heard and Ctrl-C is seen meanwhile."""
        import ray.data

        assert self._config.ray is not None
        try:
            context = ray.data.DataContext.get_current()
            context.enable_progress_bars = False
            context.execution_no_progress_timeout_s = (
                -1
            )  # one piece may be a training of hours, and it reports on its own
            for name in ("ray.data", "ray.data._internal"):
                logging.getLogger(name).setLevel(logging.CRITICAL)
            actors, ahead = min(self._config.ray.actors, len(rows)), 1 if do == "train" else 2
            answered = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
                RemoteWorker,
                fn_constructor_args=(self._shipment,),
                batch_size=1,
                compute=ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=ahead),
                num_cpus=self._config.threads,
                num_gpus=self._config.ray.gpus or None,
            )
            for row in answered.iter_rows():
                results.put((int(row["number"]), row["result"], row["where"]))
            results.put(None)
        except BaseException as error:  # noqa: BLE001 (handed to the thread that waits)
            results.put(error)

    def _hear(self) -> None:
        import ray

        for event in ray.get(self._board.take.remote()):
            self._on_event(event)


def _reason(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else 'no message'}"


def _is_trained(folder: Path) -> bool:
    return (folder / "run" / "result.json").exists()


def _retrieved(told: dict[str, Any]) -> Retrieved:
    pages = tuple(FoundPage(**page) for page in told["pages"])
    return Retrieved(**{**told, "keywords": tuple(told["keywords"]), "pages": pages})
