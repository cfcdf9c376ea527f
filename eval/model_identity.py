"""What tells one model from another without loading it, wherever its files lie."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from webrec.models.config import DEFAULT_BACKBONE, BackboneConfig


def backbone_identity(config: BackboneConfig) -> str:
    """Name, and for a folder a digest of what it holds: weights, settings, tokenizer, chat template."""
    folder = Path(config.backbone).expanduser()
    if config.backbone == DEFAULT_BACKBONE or not folder.is_dir():
        return config.backbone if config.revision is None else f"{config.backbone} at {config.revision}"
    digest = hashlib.sha256()
    for file in sorted(
        path for path in folder.iterdir() if path.is_file() and path.suffix in {".json", ".jinja", ".safetensors"}
    ):
        digest.update(f"{file.name}\0".encode() + _digest_of(file))
    return f"{folder.name} ({digest.hexdigest()[:16]})"


def adapter_identity(config: BackboneConfig) -> str | None:
    """The adapter: a digest of the files of a folder, or the hub's name and revision; None without one."""
    if config.adapter is None:
        return None
    folder = Path(config.adapter).expanduser()
    if not folder.is_dir():
        return config.adapter if config.adapter_revision is None else f"{config.adapter} at {config.adapter_revision}"
    digest = hashlib.sha256()
    for file in sorted(p for p in folder.rglob("*") if p.suffix in {".json", ".safetensors"}):
        digest.update(f"{file.relative_to(folder).as_posix()}\0".encode() + _digest_of(file))
    return digest.hexdigest()[:16]


def folder_identity(name: str) -> str:
    """A model's name, and for a folder a digest of all its files."""
    folder = Path(name).expanduser()
    return f"{folder.name} ({_digest_of_files(folder)})" if folder.is_dir() else name


def pages_identity(path: str | None) -> str | None:
    """A digest of the pages that a retrieval without a corpus searches; None where it has none."""
    if path is None:
        return None
    place = Path(path).expanduser()
    if place.is_dir():
        return _digest_of_files(place)
    return _digest_of(place).hex()[:16] if place.is_file() else None


def _digest_of_files(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{file.relative_to(folder).as_posix()}\0".encode() + _digest_of(file))
    return digest.hexdigest()[:16]


def _digest_of(file: Path) -> bytes:
    """SHA-256 of the whole file, read once as long as it stays as it is: weights may be many gigabytes."""
    state = file.stat()
    return _digest(file.resolve(), state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=256)
def _digest(file: Path, size: int, modified: int) -> bytes:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()
