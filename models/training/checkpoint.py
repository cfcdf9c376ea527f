"""Checkpoints: everything a run needs to go on as if it had never stopped. Safetensors and JSON.

Order of examples, learning rate and dropout are functions of seed and step, so the step is all that is kept of them.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from webrec.cache_folder import sha256_of
from webrec.errors import ConfigurationError

_TENSORS, _STATE = "state.safetensors", "state.json"
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass
class Progress:
    """How far a run is, and what early stopping has seen: `kept_…` of the best state so far, `first` NDCG@10 before training."""

    step: int = 0
    kept_ndcg10: float = -1.0
    kept_loss: float | None = None
    kept_step: int = 0
    first: float = -1.0
    without_gain: int = 0


class Checkpoints:
    """The checkpoints of one output folder, each a folder named by its step."""

    def __init__(self, output: Path, fingerprint: dict[str, Any]) -> None:
        self.folder = output / "checkpoints"
        self.fingerprint: dict[str, Any] = json.loads(json.dumps(fingerprint))

    def save(
        self, progress: Progress, trained: dict[str, nn.Parameter], optimiser: torch.optim.Optimizer, keep: int
    ) -> None:
        """Write a checkpoint beside the others and rename it; then remove all but the newest `keep`."""
        tensors = {f"parameter.{name}": p.detach().cpu().contiguous() for name, p in trained.items()}
        for name, parameter in trained.items():
            moments = optimiser.state.get(parameter, {})
            tensors |= {f"{m}.{name}": moments[m].detach().cpu().contiguous() for m in _MOMENTS if m in moments}

        def write(folder: Path) -> None:
            save_file(tensors, folder / _TENSORS)
            state = {
                "progress": asdict(progress),
                "fingerprint": self.fingerprint,
                "sha256": sha256_of(folder / _TENSORS),
            }
            (folder / _STATE).write_text(json.dumps(state, indent=1), encoding="utf-8")

        name = f"step-{progress.step:07d}"
        write_folder(self.folder / name, write)
        older = [folder for folder in self._complete() if folder.name <= name]
        # What is there of later steps could not be read when this run went on, and must not count as newest.
        for old in (set(self._complete()) - set(older)) | set(older[:-keep]):
            shutil.rmtree(old)

    def restore(self, trained: dict[str, nn.Parameter], optimiser: torch.optim.Optimizer) -> Progress | None:
        """Fill parameters and optimiser from the newest checkpoint that can be read; None if there is none.

        Raises `ConfigurationError` for one of another configuration or other data.
        """
        for folder in reversed(self._complete()):
            try:
                state = json.loads((folder / _STATE).read_text(encoding="utf-8"))
                tensors = load_file(folder / _TENSORS)
                progress, fingerprint = Progress(**state["progress"]), dict(state["fingerprint"])
                if state["sha256"] != sha256_of(folder / _TENSORS):
                    continue
            except (OSError, ValueError, KeyError, TypeError, SafetensorError):
                continue  # damaged; the one before is whole
            self.check(fingerprint, str(folder))
            _check_shapes(trained, tensors, folder)
            with torch.no_grad():
                for name, parameter in trained.items():
                    parameter.copy_(tensors[f"parameter.{name}"])
                    moments = {m: tensors[f"{m}.{name}"] for m in _MOMENTS if f"{m}.{name}" in tensors}
                    if moments:
                        optimiser.state[parameter] = {
                            m: _placed(t, parameter, as_is=m == "step") for m, t in moments.items()
                        }
            return progress
        return None

    def check(self, found: dict[str, Any], where: str) -> None:
        """Raise `ConfigurationError` naming the first thing in which `found` is not this run's fingerprint."""
        for name in sorted(found.keys() | self.fingerprint.keys()):
            if found.get(name) != self.fingerprint.get(name):
                raise ConfigurationError(
                    f"output: {where} is of another run ({name} is {found.get(name)!r} there and "
                    f"{self.fingerprint.get(name)!r} now); give another output folder, or remove that one"
                )

    def _complete(self) -> list[Path]:
        return sorted(self.folder.glob("step-*[0-9]")) if self.folder.is_dir() else []


def _check_shapes(trained: dict[str, nn.Parameter], tensors: dict[str, Tensor], folder: Path) -> None:
    """Raise `ConfigurationError` unless `tensors` are those of exactly this adapter."""
    mine = {f"parameter.{name}": p.shape for name, p in trained.items()}
    found = {name: t.shape for name, t in tensors.items() if name.startswith("parameter.")}
    if wrong := sorted(n for n in mine.keys() | found.keys() if mine.get(n) != found.get(n)):
        raise ConfigurationError(
            f"output: {folder} is of another adapter ({wrong[0].removeprefix('parameter.')} differs); give another output "
            "folder, or remove that one"
        )


def _placed(moment: Tensor, parameter: Tensor, *, as_is: bool) -> Tensor:
    return moment if as_is else moment.to(parameter.device)


def write_folder(target: Path, write: Callable[[Path], None]) -> None:
    """Fill a folder under another name, put it on disk, and rename it to `target`, replacing what is there.

    Killed at any time, `target` is whole or, for a moment, missing with `target.new` whole: `settle` mends that.
    """
    filling, ready, old = (target.with_name(f"{target.name}.{state}") for state in ("filling", "new", "old"))
    for stale in (filling, ready):
        shutil.rmtree(stale, ignore_errors=True)
    filling.mkdir(parents=True)
    write(filling)
    for path in filling.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    filling.rename(ready)
    if target.exists():
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
    ready.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def settle(target: Path) -> None:
    """Finish a replacement that was killed between its two renames."""
    ready = target.with_name(f"{target.name}.new")
    if not target.exists() and ready.exists():
        ready.rename(target)
