"""Who is asking what right now: at most one process asks for a key, the others wait for its answer.

A claim that failed keeps the failure for those who wait; anyone who comes later may take it over.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass

from webrec.errors import SearchError
from webrec.tools.searching.ledger import lose_calls_of

FAILURE_SECONDS = 300.0
"""How long a failure is kept for those who wait; they look every quarter of a second."""


@dataclass(frozen=True)
class Claim:
    """`token` is the claim's own, `owner` the process's. `failure` is set once the provider failed."""

    token: str
    owner: str
    failure: SearchError | None = None


def look(connection: sqlite3.Connection, key: str) -> Claim | None:
    """The claim on `key`, if there is one."""
    row = connection.execute("SELECT token, owner, failure FROM claims WHERE key = ?", (key,)).fetchone()
    return None if row is None else Claim(row[0], row[1], _read(row[2]) if row[2] else None)


def take(connection: sqlite3.Connection, key: str, claim: Claim, now: float) -> Claim:
    """Claim `key` where it is free or its claim failed; the claim that stands then: `claim`, or another's."""
    standing = look(connection, key)
    if standing is not None and standing.failure is None:
        return standing
    connection.execute("INSERT OR REPLACE INTO claims VALUES (?, ?, ?, NULL, ?)", (key, claim.token, claim.owner, now))
    return claim


def release(connection: sqlite3.Connection, key: str, token: str) -> None:
    """Give up a claim, if it is still held."""
    connection.execute("DELETE FROM claims WHERE key = ? AND token = ?", (key, token))


def fail(connection: sqlite3.Connection, key: str, token: str, failure: SearchError, now: float) -> None:
    """Leave the failure for those who wait; old ones are cleared away."""
    connection.execute(
        "DELETE FROM claims WHERE failure IS NOT NULL AND time NOT BETWEEN ? AND ?", (now - FAILURE_SECONDS, now)
    )
    connection.execute(
        "UPDATE claims SET failure = ?, time = ? WHERE key = ? AND token = ?", (_write(failure), now, key, token)
    )


def bury(connection: sqlite3.Connection, owner: str) -> None:
    """An owner died: its claims are free, its started calls lost. Done once, whoever comes first."""
    connection.execute("DELETE FROM claims WHERE owner = ? AND failure IS NULL", (owner,))
    lose_calls_of(connection, owner)


def owners(connection: sqlite3.Connection) -> list[str]:
    """All owners of open claims and started calls."""
    rows = connection.execute(
        "SELECT owner FROM claims WHERE failure IS NULL UNION SELECT owner FROM calls WHERE state = 'started'"
    )
    return [owner for (owner,) in rows]


def _write(failure: SearchError) -> str:
    return json.dumps([str(failure), failure.retry, failure.retry_after, failure.lost])


def _read(text: str) -> SearchError:
    message, retry, retry_after, lost = json.loads(text)
    return SearchError(message, retry=retry, retry_after=retry_after, lost=lost)
