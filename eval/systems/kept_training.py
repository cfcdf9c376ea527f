"""Finished trainings kept by content: a system of the same name in another run, or of another name, is not trained again."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

from webrec.cache_folder import build_once, cache_root, is_complete
from webrec.eval.code_digest import TRAINING, code_digest
from webrec.eval.run_folder import CHANGED, RUN_FILE, source_commit
from webrec.eval.train_config import TrainRunConfig
from webrec.eval.train_folder import TrainFolder
from webrec.models.backbone import get_backbone

FORMAT = 3
"""To be raised when what is kept changes."""

PARTS = ("adapter/**/*", "result.json", "run.json", "metrics.jsonl")
"""What of a training is needed to use it and to tell how it went; run.json says where and by which commit."""

_LIBRARIES = ("torch", "transformers", "peft")


def training_files(run: Path) -> list[Path]:
    """The files of `PARTS` in the folder of a training run."""
    return sorted({path for pattern in PARTS for path in run.glob(pattern) if path.is_file()})


def kept_training(run: TrainRunConfig) -> Path:
    """Where any evaluation of this machine keeps the training of these settings and data, by this code and these libraries."""
    backbone = get_backbone(run.backbone_config())
    told = [
        FORMAT,
        TrainFolder(run).fingerprint(),
        run.training.model_dump(mode="json"),
        code_digest(TRAINING),
        [backbone.device.type, backbone.dtype],
        [version(library) for library in _LIBRARIES],
    ]
    return cache_root() / "trainings" / hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]


def take_training(run: TrainRunConfig, kept: Path) -> bool:
    """Copy a finished training to where `run` would be, if nothing is there; whether there was one."""
    if run.output.exists() or not is_complete(kept):
        return False
    half = Path(tempfile.mkdtemp(prefix=f".{run.output.name}.", dir=run.output.parent))
    try:
        _copy(kept, half)
        half.rename(run.output)
    except OSError:
        if not run.output.exists():
            raise
        return False  # another process was quicker
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return True


def keep_training(run: TrainRunConfig, kept: Path) -> None:
    """Keep what `run` ended with, if all of it was computed by this code, as it was committed or installed, and these libraries."""
    starts = json.loads((run.output / RUN_FILE).read_text(encoding="utf-8"))["starts"]
    now = source_commit(), {library: version(library) for library in _LIBRARIES}
    if now[0] is not None and now[0].endswith(CHANGED):
        return
    if all((s["commit"], {library: s["versions"].get(library) for library in _LIBRARIES}) == now for s in starts):
        build_once(kept, lambda folder: _copy(run.output, folder))


def _copy(source: Path, target: Path) -> None:
    for path in training_files(source):
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
