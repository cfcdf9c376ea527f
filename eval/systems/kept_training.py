"""Finished trainings kept by content: a system of the same name in another run, or of another name, is not trained again."""

from __future__ import annotations

import hashlib
import json
import shutil
from importlib.metadata import version
from pathlib import Path

from webrec.cache_folder import build_once, cache_root, is_complete
from webrec.eval.train_config import TrainRunConfig
from webrec.eval.train_folder import TrainFolder

FORMAT = 1
"""To be raised when training, or what is kept of it, changes."""

PARTS = ("adapter/**/*", "result.json", "run.json", "metrics.jsonl")
"""What of a training is needed to use it and to tell how it went; run.json says where and by which commit."""


def training_files(run: Path) -> list[Path]:
    """The files of `PARTS` in the folder of a training run."""
    return sorted({path for pattern in PARTS for path in run.glob(pattern) if path.is_file()})


def kept_training(run: TrainRunConfig) -> Path:
    """Where any evaluation of this machine keeps the training of these settings and data by these libraries."""
    told = [
        FORMAT,
        TrainFolder(run).fingerprint(),
        run.training.model_dump(mode="json"),
        run.device,
        [version(library) for library in ("torch", "transformers", "peft")],
    ]
    return cache_root() / "trainings" / hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]


def take_training(run: TrainRunConfig, kept: Path) -> bool:
    """Copy a finished training into the empty or missing folder of `run`; whether there was one."""
    if run.output.exists() or not is_complete(kept):
        return False
    half = run.output.with_name(f".{run.output.name}.new")
    shutil.rmtree(half, ignore_errors=True)  # of a copier that was killed
    _copy(kept, half)
    half.rename(run.output)
    return True


def keep_training(run: TrainRunConfig, kept: Path) -> None:
    """Keep what `run` ended with."""
    build_once(kept, lambda folder: _copy(run.output, folder))


def _copy(source: Path, target: Path) -> None:
    for path in training_files(source):
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
