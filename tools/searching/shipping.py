"""Recorded answers as a file to ship with results: one JSON object a line, gzip, with a checksum in the last line."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import sqlite3
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from webrec.errors import InputError
from webrec.tools.fetching.fetched_page import foreign_page
from webrec.tools.page import Page
from webrec.tools.searching import records
from webrec.tools.searching.records import Kind, Record

FORMAT = "webrec-searches"
VERSION = 1
LONGEST_LINE = 64_000_000
"""Bytes; no record comes near it."""
CLOCKS_DIFFER = timedelta(days=1)
"""How far another machine's clock may be ahead of ours."""
_PAGES = TypeAdapter(list[Page])


class _Line(BaseModel):
    """One record of the file. What is foreign is checked and cleaned as when it was first recorded."""

    model_config = ConfigDict(extra="forbid", strict=True)

    kind: Kind
    key: str = Field(min_length=1)
    content: Any
    recorded: str
    provider: str
    attempts: int = Field(ge=0)
    cost_units: float = Field(ge=0, allow_inf_nan=False)
    possibly_billed: int = Field(ge=0)

    def to_record(self) -> Record:
        content = self.content
        if self.kind == "search":
            content = json.loads(_PAGES.dump_json(_PAGES.validate_python(content)))
            if {json.loads(self.key)[0], *(page["provider"] for page in content)} != {self.provider}:
                raise ValueError("key, pages and provider differ")
        else:
            content = asdict(foreign_page(content))
            if content["url"] != self.key:
                raise ValueError("key and page differ")
        time = datetime.fromisoformat(self.recorded).astimezone(UTC)
        if time > datetime.now(UTC) + CLOCKS_DIFFER:
            raise ValueError("nothing is recorded in the future: it would never expire")
        recorded = time.isoformat(timespec="microseconds")
        return Record(
            self.kind, self.key, content, recorded, self.provider, self.attempts, self.cost_units, self.possibly_billed
        )


def export_records(connection: sqlite3.Connection, file: Path, provider: str | None = None, since: str = "") -> int:
    """Write records made at `since` or later to `file`, which appears whole or not at all: how many.

    `provider` leaves out other providers' searches; fetched pages are written all the same, as a replay needs them.
    Equal records give equal bytes. Raises `InputError` if the file cannot be written.
    """
    try:
        descriptor, work = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    except OSError as error:
        raise _unwritable(file, error) from None
    try:
        with os.fdopen(descriptor, "wb") as raw:
            with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed:
                count = _write(connection, packed, provider, since)
            raw.flush()
            os.fsync(raw.fileno())
        Path(work).replace(file)
    except OSError as error:
        raise _unwritable(file, error) from None
    finally:
        Path(work).unlink(missing_ok=True)
    return count


def _write(connection: sqlite3.Connection, packed: gzip.GzipFile, provider: str | None, since: str) -> int:
    digest, count = hashlib.sha256(), 0

    def line(value: dict[str, Any]) -> None:
        data = json.dumps(value, separators=(",", ":")).encode() + b"\n"
        digest.update(data)
        packed.write(data)

    line({"format": FORMAT, "version": VERSION})
    for record in records.all_since(connection, since):
        if record.kind == "page" or provider in {None, record.provider}:
            line(asdict(record))
            count += 1
    line({"records": count, "sha256": digest.hexdigest()})
    return count


@dataclass(frozen=True)
class Imported:
    """What became of the records of a file: `kept` counts those for which the store had one as new or newer."""

    new: int
    newer: int
    kept: int


def import_records(connection: sqlite3.Connection, file: Path) -> Imported:
    """Take over the records of `file`, the newer one of each key. Runs in one write transaction: all or nothing.

    Raises `InputError` for a file that is not whole; check it before with `check_export`, which holds nobody up.
    """
    counts = {"new": 0, "newer": 0, "kept": 0}
    for record in read_export(file):
        held = records.find(connection, record.kind, record.key)
        outcome = "new" if held is None else "newer" if held.recorded < record.recorded else "kept"
        counts[outcome] += 1
        if outcome != "kept":
            records.put(connection, record)
    return Imported(**counts)


def check_export(file: Path) -> int:
    """How many records a file holds. Raises `InputError` if it is damaged or no export."""
    return sum(1 for _ in read_export(file))


def read_export(file: Path) -> Iterator[Record]:
    """The records of a file. Raises `InputError`, for damage possibly at the very end only: until then nothing is sure."""
    try:
        with gzip.open(file, "rb") as lines:
            yield from _records(file.name, lines)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise InputError(f"{file.name}: it is damaged or is no gzip file; get it again") from None
    except OSError as error:
        raise InputError(
            f"{file.name}: it cannot be read ({error.strerror}); give a file of webrec searches export"
        ) from None


def _records(name: str, lines: gzip.GzipFile) -> Iterator[Record]:
    digest, count = hashlib.sha256(), 0
    first = lines.readline(LONGEST_LINE)
    header = _json(first)
    if header.get("format") != FORMAT:
        raise InputError(f"{name}: it is no file of recorded searches; give one of webrec searches export")
    if header.get("version") != VERSION:
        raise InputError(
            f"{name}: its format is {header.get('version')!r} and this WebRec reads {VERSION}; update WebRec"
        )
    digest.update(first)
    while data := lines.readline(LONGEST_LINE):
        value = _json(data)
        if "sha256" in value:
            if value != {"records": count, "sha256": digest.hexdigest()} or lines.read(1):
                break
            return
        digest.update(data)
        count += 1
        try:
            yield _Line.model_validate(value).to_record()
        except (ValidationError, ValueError, TypeError, LookupError, OverflowError, RecursionError):
            raise InputError(f"{name}: line {count + 1} is no record; get the file again") from None
    raise InputError(f"{name}: it is damaged (the checksum at its end does not fit); get it again")


def _json(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _unwritable(file: Path, error: OSError) -> InputError:
    return InputError(
        f"{file.name}: it cannot be written ({error.strerror}); name a file in a folder that can be written"
    )
