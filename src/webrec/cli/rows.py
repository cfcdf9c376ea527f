"""A JSONL file of results that can be interrupted at any time and continued."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from webrec.errors import InputError

_ROW = b'{"key": "'


class ResultRows:
    """Rows appended one by one, each on disk before the next is begun; an unfinished last line is dropped on opening."""

    def __init__(self, path: Path) -> None:
        """Read what rows are there. Raises `InputError` if the file holds anything else, or is in use."""
        self.path = path
        self._lock = FileLock(f"{path}.lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except (Timeout, OSError):
            raise InputError(
                f"--output: {path} cannot be written or another run is writing it; name another file"
            ) from None
        self._held: dict[str, Counter[str]] = {}
        try:
            if path.exists():
                self._read()
        except BaseException:
            self.close()
            raise

    def _read(self) -> None:
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise self._unusable(error) from None
        *lines, last = content.split(b"\n")
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                self._held.setdefault(row["key"], Counter())[str(row["user"])] += 1
            except (ValueError, KeyError, TypeError, RecursionError):
                raise self._foreign(number) from None
        if last:
            if (
                last.strip(b"\0") and last[: len(_ROW)] != _ROW[: len(last)]
            ):  # somebody's file, not a row whose writer was killed
                raise self._foreign(len(lines) + 1)
            with self.path.open("r+b") as file:
                file.truncate(len(content) - len(last))

    def _foreign(self, line: int) -> InputError:
        return InputError(f"--output: line {line} of {self.path} is no result of webrec; name another file")

    def _unusable(self, error: OSError) -> InputError:
        return InputError(f"--output: {self.path} cannot be used ({error.strerror}); make room, or name another file")

    def missing(self, wanted: Sequence[tuple[str, str, bool]]) -> list[int]:
        """Places of those of `wanted`, (key, user, whether the user has an id), for whom there is no row yet.

        Who has an id needs a row of that name. Others take any row of the same work that is left: they are told apart by their line
        alone, which may have changed.
        """
        left = {key: Counter(users) for key, users in self._held.items()}
        places = []
        for place in sorted(range(len(wanted)), key=lambda place: not wanted[place][2]):
            key, user, _ = wanted[place]
            rows = left.get(key, Counter())
            found = user if rows[user] else next((u for u in rows if rows[u]), None) if not wanted[place][2] else None
            if found is None:
                places.append(place)
            else:
                rows[found] -= 1
        return sorted(places)

    def append(self, row: dict[str, Any]) -> None:
        """Write one row, with `key` and `user` first, through to the disk. Raises `InputError` if that cannot be."""
        try:
            with self.path.open("ab") as file:
                file.write(json.dumps(row).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise self._unusable(error) from None

    def close(self) -> None:
        """Let other runs use the file."""
        self._lock.release()
        Path(self._lock.lock_file).unlink(missing_ok=True)
