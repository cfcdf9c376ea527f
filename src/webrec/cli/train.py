"""`webrec train CONFIG`: train an adapter, on one process or with Ray."""

from __future__ import annotations

import shlex
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import click

from webrec.cli.train_progress import TrainProgress

if TYPE_CHECKING:
    from webrec.eval.train_config import TrainRunConfig
    from webrec.models.training.loop import TrainingResult


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="NAME=VALUE",
    help="Change a setting, e.g. training.epochs=1; may be given again. Paths are relative to CONFIG, as inside it.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="Train with N Ray workers (extra: ray) instead of here.",
)
@click.option(
    "--max-failures",
    type=click.IntRange(0),
    default=3,
    show_default=True,
    metavar="N",
    help="With --workers: how many times a lost worker is replaced.",
)
@click.pass_context
def train(
    context: click.Context, config: Path, changes: tuple[str, ...], workers: int | None, max_failures: int
) -> None:
    """Train a LoRA or soft prompt with a message-passing head, as the TOML, YAML or JSON file CONFIG says.

    A run that was stopped or killed goes on from its newest checkpoint when the same command is called again.
    """
    from webrec.eval.train_config import read_config

    settings = read_config(config, changes)
    progress = TrainProgress()
    try:
        with progress, stop_on_interrupt(progress, "this step") as stop:
            if workers is None:
                from webrec.eval.train_run import train_here

                result = train_here(settings, on_event=progress, stop=stop)
            else:
                from webrec.eval.ray_train import train_on_ray

                result = train_on_ray(settings, workers, max_failures=max_failures, on_event=progress, stop=stop)
    except KeyboardInterrupt:
        where = f" at step {progress.step:,}" if progress.step else ""
        click.echo(
            f"webrec: interrupted{where}; call the same command again to go on from the newest checkpoint", err=True
        )
        context.exit(130)
    if progress.finished_before:
        click.echo(
            f"this run is finished, so nothing was done; for another one give another output than {settings.output}"
        )
    click.echo(_summary(settings, result))


class Interruptible(Protocol):
    """Progress of work that can be stopped between two units."""

    interruptible: bool

    def keep(self, text: str) -> None:
        """Write a line that stays."""


@contextmanager
def stop_on_interrupt(progress: Interruptible, unit: str) -> Iterator[Callable[[], bool]]:
    """Ctrl-C ends the work after the `unit` being computed, where it can be; before that, or twice, at once."""
    asked = threading.Event()

    def interrupted(*_: object) -> None:
        if asked.is_set() or not progress.interruptible:
            raise KeyboardInterrupt
        asked.set()
        progress.keep(f"stopping after {unit}; press Ctrl-C again to stop at once")

    in_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, interrupted) if in_main else None
    try:
        yield asked.is_set
    finally:
        if in_main:
            signal.signal(signal.SIGINT, before)


def _summary(config: TrainRunConfig, result: TrainingResult) -> str:
    from webrec.models.training.loop import ADAPTER_FOLDER

    adapter = config.output / ADAPTER_FOLDER
    early = ", stopped early" if result.stopped_early else ""
    return (
        f"kept: step {result.kept_step:,} of {result.steps:,}{early}, validation loss {result.kept_loss:.4f}, "
        f"NDCG@10 {result.kept_ndcg10:.4f} ({result.first_ndcg10:.4f} before training); adapter: {adapter}; "
        f"use it: webrec recommend FILE {_options(config, adapter)}"
    )


def _options(config: TrainRunConfig, adapter: Path) -> str:
    """What makes `webrec recommend` score as the run did."""
    from webrec.eval.train_config import PromptConfig, TrainRunConfig
    from webrec.models.training.config import TrainingConfig

    options = ["--adapter", str(adapter)]
    for settings, kind, names in (
        (config, TrainRunConfig, ("backbone", "revision", "dtype")),
        (config.prompt, PromptConfig, tuple(PromptConfig.model_fields)),
        (config.training, TrainingConfig, ("score_by",)),
    ):
        for name in names:
            value = getattr(settings, name)
            if value == kind.model_fields[name].get_default():
                continue
            options += (
                ["--no-retrieval"] if (name, value) == ("pages", 0) else [f"--{name.replace('_', '-')}", str(value)]
            )
    return shlex.join(options)
