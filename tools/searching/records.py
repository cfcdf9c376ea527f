"""What was answered before: searches by provider, query and options, fetched pages by address."""

from __future__ import annotations

import json
import sqlite3
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from webrec.tools.text_safety import normalised, storable

Kind = Literal["search", "page"]


@dataclass(frozen=True)
class Record:
    """One answer; the fields are the table's columns, in order. `content` is a JSON value: a list of pages for a search; what the fetcher made of it for a page."""

    kind: Kind
    key: str
    content: Any
    recorded: str
    """When, as UTC ISO 8601 with microseconds: so that the order of texts is the order of times."""
    provider: str = ""
    attempts: int = 0
    """Calls that were sent for it."""
    cost_units: float = 0.0
    possibly_billed: int = 0


def normalised_query(query: str) -> str:
    """The query as keys hold it: cleaned, white space folded, compatibility-normalised (NFKC), case folded.

    Doing it twice changes nothing.
    """
    before = None
    while before != query:  # folding case can undo the normal form, and the normal form can bring spaces
        before, query = query, unicodedata.normalize("NFKC", " ".join(normalised(query).split()))
    return query


def search_key(provider: str, query: str, limit: int, options: Mapping[str, str | int | float | bool]) -> str:
    """The key of a search: equal for all that get the same answer."""
    return json.dumps([provider, normalised_query(query), limit, dict(options)], sort_keys=True, separators=(",", ":"))


def utc(time: float) -> str:
    """A Unix time as UTC ISO 8601."""
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="microseconds")


def oldest_admitted(now: float, max_age_days: float | None) -> str:
    """The time from which on records count; the empty text, which is before all, if they never expire."""
    if max_age_days is None:
        return ""
    try:
        return (datetime.fromtimestamp(now, UTC) - timedelta(days=max_age_days)).isoformat(timespec="microseconds")
    except OverflowError:  # older than the calendar
        return ""


def find(connection: sqlite3.Connection, kind: Kind, key: str, since: str = "") -> Record | None:
    """The record of `key` if it was made at `since` or later."""
    row = connection.execute(
        "SELECT * FROM records WHERE kind = ? AND key = ? AND recorded >= ?", (kind, storable(key), since)
    ).fetchone()
    return None if row is None else _record(row)


def all_since(connection: sqlite3.Connection, since: str = "") -> Iterator[Record]:
    """All records made at `since` or later, by kind and key."""
    rows = connection.execute("SELECT * FROM records WHERE recorded >= ? ORDER BY kind, key", (since,))
    return map(_record, rows)


def _record(row: tuple[Any, ...]) -> Record:
    kind, key, content, *rest = row
    return Record(kind, key, json.loads(content), *rest)


def put(connection: sqlite3.Connection, record: Record) -> None:
    """Keep a record in place of an older one of the same key."""
    connection.execute(
        "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            record.kind,
            storable(record.key),
            json.dumps(record.content, allow_nan=False),
            record.recorded,
            record.provider,
            record.attempts,
            record.cost_units,
            record.possibly_billed,
        ),
    )


def prune(connection: sqlite3.Connection, before: str) -> int:
    """Forget records made before then, and settled calls; what was used of the caps stays known. Returns the records."""
    gone = connection.execute("DELETE FROM records WHERE recorded < ?", (before,)).rowcount
    connection.execute("DELETE FROM calls WHERE time < ? AND state != 'started'", (before,))
    return gone


@dataclass(frozen=True)
class Held:
    """How many records of a kind and provider there are, and how old they are (UTC ISO 8601)."""

    kind: Kind
    provider: str
    count: int
    oldest: str
    newest: str


def held(connection: sqlite3.Connection) -> list[Held]:
    """What is recorded, by kind and provider."""
    rows = connection.execute(
        "SELECT kind, provider, count(*), min(recorded), max(recorded) FROM records GROUP BY kind, provider ORDER BY 1, 2"
    )
    return [Held(*row) for row in rows]
