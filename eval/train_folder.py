"""The output folder of a training run, and what tells one run from another."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from webrec.errors import ConfigurationError
from webrec.eval.model_identity import backbone_identity
from webrec.eval.run_folder import RunFolder
from webrec.eval.train_config import NOT_SETTINGS, TrainRunConfig


class TrainFolder(RunFolder):
    """The folder of the training run of `config`."""

    def __init__(self, config: TrainRunConfig) -> None:
        """Hash the data; nothing is written yet. Raises `ConfigurationError` if the data cannot be read."""
        self.config = config
        self.data = {name: _file_hash(name, getattr(config, name)) for name in ("train", "valid")}
        super().__init__(config.output, self._description(), "a training run")

    def fingerprint(self) -> dict[str, Any]:
        """What makes the run what it is, beside its training settings: with anything else its numbers would be others."""
        config = self.config
        return {
            **{f"{name} (sha256)": digest for name, digest in self.data.items()},
            "backbone": backbone_identity(config),
            "dtype": config.dtype,
            "prompt": config.prompt.model_dump(mode="json"),
            "tuning": config.tuning.model_dump(mode="json"),
            "head": None if config.head is None else config.head.model_dump(mode="json"),
        }

    def _description(self) -> dict[str, Any]:
        config = self.config
        return {
            "config": config.model_dump(mode="json", exclude=set(NOT_SETTINGS)),
            "sha256": self.data,
            "seeds": {"prompt": config.prompt.seed, "training": config.training.seed},
            "fingerprint": {**self.fingerprint(), "training": config.training.model_dump(mode="json")},
        }


def _file_hash(field: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigurationError(f"{field}: {path} cannot be read ({error.strerror}); give a JSONL file") from None
