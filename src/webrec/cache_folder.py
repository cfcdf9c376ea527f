"""Where WebRec keeps what it can fetch or build again, and how a folder gets there whole or not at all.

Any layer may import it; it imports nothing of the project but its errors.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import platformdirs
from filelock import FileLock

from webrec.errors import ConfigurationError

MANIFEST = "webrec_manifest.json"


def cache_root() -> Path:
    """The cache folder: the environment variable `WEBREC_CACHE`, or the user's cache folder of the system."""
    configured = os.environ.get("WEBREC_CACHE")
    return Path(configured).expanduser() if configured else platformdirs.user_cache_path("webrec")


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_complete(folder: Path) -> bool:
    """Whether `folder` holds a manifest and every file that it lists, each at its recorded size."""
    try:
        files = json.loads((folder / MANIFEST).read_text("utf-8"))["files"]
        return all((folder / name).stat().st_size == entry["bytes"] for name, entry in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def damaged_files(folder: Path) -> list[str]:
    """Names of the files in `folder` whose SHA-256 differs from the manifest (reads everything: slow)."""
    files = json.loads((folder / MANIFEST).read_text("utf-8"))["files"]
    return [n for n, e in files.items() if not (folder / n).is_file() or sha256_of(folder / n) != e["sha256"]]


def build_once(folder: Path, build: Callable[[Path], None]) -> Path:
    """Return `folder`, first filling it with `build(work_folder)` if it is not complete.

    Safe between processes: one builds under a lock, the others wait. Safe when killed: the work happens in a
    sibling folder that is renamed only when its manifest is on disk; leftovers of a killed builder are removed.
    """
    if is_complete(folder):
        return folder
    lock = FileLock(folder.parent / f"{folder.name}.lock")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise ConfigurationError(
            f"WEBREC_CACHE: {str(folder.parent)!r} cannot be written ({error.strerror}); name a folder that can be"
        ) from None
    try:
        if is_complete(folder):
            return folder
        for leftover in folder.parent.glob(f".{folder.name}.*"):
            shutil.rmtree(leftover, ignore_errors=True)
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            build(work)
            _write_manifest(work)
            if folder.exists():
                shutil.rmtree(folder)
            work.rename(folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    finally:
        lock.release()
    return folder


def _write_manifest(folder: Path) -> None:
    files = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        with path.open("rb") as file:
            os.fsync(file.fileno())
        files[path.relative_to(folder).as_posix()] = {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
    with (folder / MANIFEST).open("w", encoding="utf-8") as file:
        json.dump({"files": files}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
