"""metrics.jsonl and TensorBoard files: one row a step and one a validation, none lost or doubled by a restart."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from webrec.errors import missing_extra

METRICS_FILE = "metrics.jsonl"


class MetricsLog:
    """Appends rows to both."""

    def __init__(self, folder: Path, resumed_step: int | None) -> None:
        """Drop rows after `resumed_step`, which will come again; all of them where a run starts anew (None)."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise missing_extra("train", "tensorboard") from None
        path = folder / METRICS_FILE
        kept = [] if resumed_step is None else [r for r in read_metrics(path) if r["step"] <= resumed_step]
        fresh = path.with_suffix(".new")
        fresh.write_text("".join(json.dumps(r) + "\n" for r in kept), encoding="utf-8")
        fresh.replace(path)
        self._file = path.open("a", encoding="utf-8")
        purge = None if resumed_step is None else resumed_step + 1
        writer: Any = SummaryWriter
        self._board = writer(str(folder / "tensorboard"), purge_step=purge)

    def write(self, row: dict[str, Any]) -> None:
        """`row` has `kind` (step or validation), `step`, and numbers."""
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        for name, value in row.items():
            if isinstance(value, int | float) and name != "step":
                self._board.add_scalar(f"{row['kind']}/{name}", value, row["step"])

    def sync(self) -> None:
        """Put on disk what was written; before a checkpoint says that it was."""
        self._board.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close both."""
        self._file.close()
        self._board.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The whole rows of a file; one that was cut off in writing is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows
