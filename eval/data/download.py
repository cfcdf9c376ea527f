"""Fetching a large file so that nothing is lost: it goes on where it was cut off, and is there whole and checked or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from filelock import FileLock, Timeout

from webrec.errors import ConfigurationError, WebRecError
from webrec.eval.data.catalogue import Release, RemoteFile
from webrec.eval.whole_text import write_whole_text

MANIFEST = "download.json"
MOST_BYTES = 200 * 10**9
_CHUNK = 2**20
_SPARE = 100 * 2**20
_TIMEOUT = httpx.Timeout(60.0, connect=20.0)
OnProgress = Callable[[str, int, int | None], None]
"""Hears a file's name, how many bytes are there, and how many there will be, if that is known."""


class DownloadError(WebRecError):
    """A file could not be fetched; what arrived is kept for the next attempt."""


def download_release(
    release: Release,
    folder: Path,
    *,
    on_progress: OnProgress = lambda *_: None,
    attempts: int = 6,
    client: httpx.Client | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> list[Path]:
    """Fetch all files of `release` that are not in `folder` yet, and note in download.json where from and what they are.

    Raises `DownloadError` if a server refuses or a file is not what it should be, `ConfigurationError` if the folder cannot hold it.
    """
    own = client or httpx.Client(timeout=_TIMEOUT, follow_redirects=True, headers={"Accept-Encoding": "identity"})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".download.lock", timeout=0):
            return [_fetch(file, release, folder, own, on_progress, attempts, pause) for file in release.files]
    except Timeout:
        raise ConfigurationError(f"--to: another process is downloading to {folder}; wait for it") from None
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise ConfigurationError(
                f"--to: the disk of {folder} is full; free some space, then call the same command again to go on"
            ) from None
        raise ConfigurationError(f"--to: {folder} cannot be written ({error.strerror}); give another folder") from None
    finally:
        if client is None:
            own.close()


def _fetch(
    file: RemoteFile,
    release: Release,
    folder: Path,
    client: httpx.Client,
    on_progress: OnProgress,
    attempts: int,
    pause: Callable[[float], None],
) -> Path:
    target, noted = folder / file.name, read_manifest(folder).get(file.name, {})
    if target.is_file() and noted and noted.get("bytes") == target.stat().st_size:
        on_progress(file.name, target.stat().st_size, target.stat().st_size)
        return target
    part = folder / f"{file.name}.part"
    for attempt in range(1, attempts + 1):
        try:
            tag = _receive(file, part, client, on_progress)
            break
        except (httpx.TransportError, _Cut) as error:
            if attempt == attempts:
                raise DownloadError(
                    f"{file.name}: the connection broke {attempts} times ({_said(error)}); call again to go on from there"
                ) from None
            pause(min(60.0, 2.0**attempt))
    digest = _checked(file, part, noted)
    part.replace(target)
    _tag_file(part).unlink(missing_ok=True)
    told = {
        "address": file.address,
        "bytes": target.stat().st_size,
        "sha256": digest,
        "etag": tag,
        "fetched": datetime.now(UTC).isoformat(timespec="seconds"),
        "release": release.name,
        "terms": release.terms,
        "cite": release.cite,
    }
    _note(folder, file.name, told)
    return target


class _Cut(Exception):
    """The server stopped early or said that it is busy."""


def _receive(file: RemoteFile, part: Path, client: httpx.Client, on_progress: OnProgress) -> str | None:
    """Add to `part` what it lacks; returns the file's ETag, if the server gives one."""
    have = part.stat().st_size if part.exists() else 0
    tag = _tag_file(part).read_text("utf-8") if have and _tag_file(part).exists() else ""
    # Without a tag nobody could tell that the file has changed meanwhile: then it is fetched from its beginning.
    headers = {"Range": f"bytes={have}-", "If-Range": tag} if have and tag else {}
    with client.stream("GET", file.address, headers=headers) as answer:
        if answer.status_code == 416:
            part.unlink()
            raise _Cut("the file has become shorter")
        if answer.status_code in {429, 500, 502, 503, 504}:
            raise _Cut(f"HTTP {answer.status_code}")
        if answer.status_code not in {200, 206}:
            raise DownloadError(
                f"{file.name}: {answer.url.host} answers HTTP {answer.status_code}; try later, or get it by hand"
            )
        resumed = answer.status_code == 206
        have = have if resumed else 0
        length = answer.headers.get("Content-Length")
        total = None if length is None or not length.isdecimal() else have + int(length)
        _check_room(part, total, have)
        own_tag = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
        _tag_file(part).write_text(own_tag, encoding="utf-8")
        with part.open("ab" if resumed else "wb") as out:
            for chunk in answer.iter_raw(_CHUNK):
                out.write(chunk)
                have += len(chunk)
                if have > MOST_BYTES:
                    raise DownloadError(f"{file.name}: it is longer than {MOST_BYTES:,} bytes, which no release is")
                on_progress(file.name, have, total)
        if total is not None and have != total:
            raise _Cut(f"{have:,} of {total:,} bytes arrived")
    return own_tag or None


def _tag_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.tag")


def _check_room(part: Path, total: int | None, have: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if total is not None and total - have + _SPARE > free:
        raise ConfigurationError(
            f"--to: {part.parent} has {free / 1e9:.1f} GB free and {part.name.removesuffix('.part')} needs "
            f"{(total - have) / 1e9:.1f} GB; free some space, or give another folder"
        )


def _checked(file: RemoteFile, part: Path, noted: dict[str, Any]) -> str:
    """The file's SHA-256. Raises `DownloadError`, and removes the file, if it is not what it should be."""
    digests = {}
    for name in ("sha256", *(["md5"] if file.md5 else [])):
        with part.open("rb") as stream:
            digests[name] = hashlib.file_digest(stream, name).hexdigest()
    wrong = file.md5 is not None and digests["md5"] != file.md5
    if wrong or noted.get("sha256", digests["sha256"]) != digests["sha256"]:
        part.unlink()
        _tag_file(part).unlink(missing_ok=True)
        why = (
            "not the one that its makers publish"
            if wrong
            else f"another one than when it was fetched before ({noted['fetched']})"
        )
        raise DownloadError(f"{file.name}: its checksum is {why}, so it was not kept; call again, or ask its makers")
    return digests["sha256"]


def read_manifest(folder: Path) -> dict[str, Any]:
    """What download.json says of each file; empty where it is missing or damaged."""
    try:
        told = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def _note(folder: Path, name: str, told: dict[str, Any]) -> None:
    write_whole_text(folder / MANIFEST, json.dumps({**read_manifest(folder), name: told}, indent=1) + "\n", "--to")


def _said(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
