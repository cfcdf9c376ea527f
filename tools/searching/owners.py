"""Who is alive: each process holds a locked file beside the store, and the system frees the lock when it dies.

So a killed process is noticed at once, and a process that is merely slow, stopped or asleep never passes for dead; no
clock is asked.
"""

from __future__ import annotations

import os
import sys
import uuid
from contextlib import suppress
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int, *, shared: bool) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _lock(descriptor: int, *, shared: bool) -> bool:
        """Owners lock alone and wait for probes, which are momentary; probes share and never wait."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB if shared else fcntl.LOCK_EX)
        except BlockingIOError:
            return False
        return True


class Owner:
    """A process, as other processes know it. `folder` holds one file per living owner."""

    def __init__(self, folder: Path) -> None:
        """Raises `OSError` where files cannot be made or locked."""
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            self.token = uuid.uuid4().hex
            self._file = folder / self.token
            self._descriptor: int | None = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600)
            # Someone may have swept the file away between its making and its locking.
            if _lock(self._descriptor, shared=False) and self._file.exists():
                return
            os.close(self._descriptor)

    def close(self) -> None:
        """Free the lock and take the file away."""
        self.forget()
        self._file.unlink(missing_ok=True)

    def forget(self) -> None:
        """In a forked child: the lock stays the parent's, and must not outlive it here."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def is_alive(folder: Path, token: str) -> bool:
    """Whether the owner `token` still runs; the file of one that died is taken away."""
    try:
        descriptor = os.open(folder / token, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        alive = not _lock(descriptor, shared=True)
        if not alive:
            with suppress(PermissionError):  # Windows removes no open file
                (folder / token).unlink(missing_ok=True)  # while locked: its maker would see that it is gone
        return alive
    finally:
        os.close(descriptor)


def sweep(folder: Path) -> None:
    """Take away the files of owners that died."""
    for file in folder.iterdir() if folder.is_dir() else ():
        is_alive(folder, file.name)
