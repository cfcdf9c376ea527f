"""A JSONL file of results that can be interrupted at any time and continued."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from webrec.errors import InputError


class ResultRows:
    """Rows appended one by one, each on disk before the next is begun; an unfinished last line is dropped on opening."""

    def __init__(self, path: Path) -> None:
        """Read the keys of the rows that are there. Raises `InputError` if the file holds anything else or is in use."""
        self.path = path
        self._lock = FileLock(f"{path}.lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except (Timeout, OSError):
            raise InputError(
                f"--output: {path} cannot be written or another run is writing it; name another file"
            ) from None
        self.keys: set[str] = set()
        if path.exists():
            self._read()

    def _read(self) -> None:
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                self.keys.add(json.loads(line)["key"])
            except (ValueError, KeyError, TypeError):
                raise InputError(
                    f"--output: line {number} of {self.path} is no result of webrec; name another file"
                ) from None
        if len(whole) < len(content):
            with self.path.open("r+b") as file:
                file.truncate(len(whole))

    def append(self, row: dict[str, Any]) -> None:
        """Write one row through to the disk."""
        with self.path.open("ab") as file:
            file.write(json.dumps(row).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self.keys.add(row["key"])

    def close(self) -> None:
        """Let other runs use the file."""
        self._lock.release()
        Path(self._lock.lock_file).unlink(missing_ok=True)
