"""The training loop on several processes, under Ray Train: lost workers are replaced and go on from our checkpoint."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
import uuid
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from webrec import errors
from webrec.errors import TrainingError, WebRecError
from webrec.eval.ray_cluster import cpus_per_worker, event_board, machines, ray_cluster, require_ray, wants_gpu
from webrec.eval.train_config import TrainRunConfig
from webrec.eval.train_folder import TrainFolder
from webrec.eval.train_run import OnEvent, PreparedRun, finished, ignore, prepare, read_data, require_train_extra

if TYPE_CHECKING:
    from webrec.models.training.loop import TrainingResult

_SCRATCH = ".ray"
_WRITER_LOCK = ".writer.lock"
_LOOK_SECONDS = 0.3


def train_on_ray(
    config: TrainRunConfig,
    workers: int,
    *,
    max_failures: int = 3,
    on_event: OnEvent = ignore,
    stop: Callable[[], bool] = lambda: False,
) -> TrainingResult:
    """Run `config` on `workers` processes; events, results and errors are those of `train_here`.

    Data, backbone and output folder must lie where every worker can reach them. The cluster is the one that RAY_ADDRESS
    names, else one of this machine alone. Once `stop()` is true, `KeyboardInterrupt` is raised; the newest checkpoint
    stays. Raises `TrainingError` once workers were lost more than `max_failures` times.
    """
    require_train_extra()
    require_ray()
    with TrainFolder(config) as folder:
        if (done := finished(config)) is not None:
            on_event({"event": "finished"})
            return done
        read_data(config)  # what is wrong with it is told before Ray is started
        on_event({"event": "ray", "workers": workers})
        starts = 0

        def hear(event: dict[str, Any]) -> None:
            nonlocal starts
            if event["event"] == "failed":
                raise getattr(errors, event["kind"])(event["message"])
            if event["event"] == "started" and event["rank"] == 0:
                starts += 1
                if starts > 1:
                    on_event({"event": "restarted"})
                folder.started({**event, "workers": workers})
            on_event(event)

        try:
            with ray_cluster() as own, tempfile.TemporaryDirectory() as meeting:
                _fit(config, folder.fingerprint(), workers, max_failures, meeting if own else None, hear, stop)
        finally:
            shutil.rmtree(config.output / _SCRATCH, ignore_errors=True)
        result = finished(config)
        if result is None:
            raise TrainingError(
                f"output: the workers left no result in {config.output}; it must be a folder they share"
            )
        return result


def _fit(
    config: TrainRunConfig,
    fingerprint: dict[str, Any],
    workers: int,
    max_failures: int,
    meeting: str | None,
    hear: OnEvent,
    stop: Callable[[], bool],
) -> Any:
    """Ray Train's `fit` in a thread of its own, so that events are heard and Ctrl-C is seen meanwhile; its result."""
    import ray
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    from webrec.eval.ray_group import OwnGroup

    nodes = machines()
    gpu = wants_gpu(config.device, sum(node.get("GPU", 0.0) for node in nodes), workers)
    cpus = cpus_per_worker([node.get("CPU", 0.0) for node in nodes], workers)
    board: Any = event_board()
    trainer = TorchTrainer(
        _work,
        train_loop_config={
            "config": config.model_dump(mode="json"),
            "fingerprint": fingerprint,
            "threads": max(1, int(cpus)),
            "board": board,
            "meeting": meeting,
        },
        torch_config=OwnGroup() if meeting else TorchConfig(),
        scaling_config=ScalingConfig(
            num_workers=workers, use_gpu=gpu, resources_per_worker={"CPU": cpus, **({"GPU": 1} if gpu else {})}
        ),
        run_config=RunConfig(
            name=uuid.uuid4().hex,  # a new one each time: it is not from Ray's checkpoints that a run goes on
            storage_path=str(config.output / _SCRATCH),
            failure_config=FailureConfig(max_failures=max_failures),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
        ),
    )
    ended: list[Any] = []

    def fit() -> None:
        try:
            ended.append(trainer.fit())
        except BaseException as error:  # noqa: BLE001 (handed to the thread that waits)
            ended.append(error)

    thread = threading.Thread(target=fit, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_LOOK_SECONDS)
        for event in ray.get(board.take.remote()):
            hear(event)
        if stop():
            raise KeyboardInterrupt
    for event in ray.get(board.take.remote()):
        hear(event)
    if isinstance(ended[0], BaseException):
        raise TrainingError(f"workers: {_reason(ended[0])}; call again to go on from the newest checkpoint")
    return ended[0]


def _reason(error: BaseException) -> str:
    """What Ray says of the worker that was lost last, in one line."""
    failures = getattr(error, "worker_failures", None) or {0: error}
    rank, failure = next(iter(failures.items()))
    lines = [line.strip() for line in str(failure).splitlines() if line.strip()]
    return f"worker {rank} was lost too often ({type(failure).__name__}: {lines[-1] if lines else 'no message'})"


def _work(options: dict[str, Any]) -> None:
    """What each worker does. `meeting` is a folder where it meets the others itself; None where Ray has seen to that."""
    import torch

    from webrec.eval.ray_group import process_group

    torch.set_num_threads(options["threads"])
    with process_group(options["meeting"]) if options["meeting"] else nullcontext():
        _train(options)


def _train(options: dict[str, Any]) -> None:
    import ray.train
    import torch
    from ray.train.torch import get_device, prepare_model

    from webrec.models.training.loop import train

    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    config = TrainRunConfig.model_validate(options["config"])

    def tell(event: dict[str, Any]) -> None:
        if rank == 0 or event["event"] == "started":
            options["board"].put.remote({**event, "rank": rank})
        if event["event"] == "validation":
            _report(event, rank)

    run, error = _prepared(config, str(get_device()), tell)
    failures: list[Any] = [error]
    if world > 1:
        failures = [None] * world
        torch.distributed.all_gather_object(failures, error)
    failures = [f for f in failures if f is not None]
    if run is None or failures:  # of one worker: all end, and Ray does not try again
        _tell_failure(options["board"], rank, failures[0])
        return
    # After a loss, the process that wrote before may take a moment to die.
    writer = FileLock(config.output / _WRITER_LOCK, timeout=120)
    if rank == 0:
        writer.acquire()
    try:
        train(
            run.adapted,
            run.train_set,
            run.valid_set,
            config.training,
            config.output,
            fingerprint=options["fingerprint"],
            rank=rank,
            world=world,
            wrap=prepare_model,
            on_event=tell,
        )
    except WebRecError as failure:  # the numbers are every worker's, so each comes here
        _tell_failure(options["board"], rank, (type(failure).__name__, str(failure)))
    finally:
        writer.release()


def _prepared(config: TrainRunConfig, device: str, tell: OnEvent) -> tuple[PreparedRun | None, tuple[str, str] | None]:
    """The run, or class and message of what is wrong with it."""
    try:
        return prepare(config, *read_data(config), device=device, on_event=tell), None
    except WebRecError as error:
        return None, (type(error).__name__, str(error))


def _tell_failure(board: Any, rank: int, failure: tuple[str, str]) -> None:
    import ray

    if rank == 0:
        ray.get(board.put.remote({"event": "failed", "kind": failure[0], "message": failure[1]}))


def _report(event: dict[str, Any], rank: int) -> None:
    """Hand Ray the metrics. It keeps those of its own checkpoints only, so there is one, of a few bytes."""
    import ray.train

    metrics = {name: value for name, value in event.items() if isinstance(value, int | float)}
    if rank != 0:
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "metrics.json").write_text(json.dumps({**metrics, "pid": os.getpid()}), encoding="utf-8")
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))
