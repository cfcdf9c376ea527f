"""Every call that is sent, written down before it is sent: its slot, the caps, and what became of it.

States of a call: `started`, then `answered`, `failed` (the service refused: not billed) or `lost` (no answer came, or the
process died: possibly billed, so it counts as if it were). All functions run inside a write transaction.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Literal

from webrec.errors import SpendingCapError
from webrec.tools.searching.limits import Limits, day_of, first_day, period_end
from webrec.tools.searching.records import utc

Outcome = Literal["answered", "failed", "lost", "unsent"]
_ROUNDING = 1e-9
"""Sums of prices are off by less than this, relative to the cap."""


@dataclass(frozen=True)
class Call:
    """A call about to be sent. `id` is chosen by the caller, who can so settle it whatever happens."""

    id: str
    provider: str
    key: str
    owner: str
    cost_units: float


def reserve(connection: sqlite3.Connection, call: Call, limits: Limits, now: float) -> float:
    """Take the provider's next free slot: seconds until then. At 0 the call is booked; else `book` it when they passed.

    Raises `SpendingCapError`, and then takes no slot.
    """
    _check_caps(connection, call, limits, now)
    following, booked = connection.execute(
        "SELECT next, booked FROM slots WHERE provider = ?", (call.provider,)
    ).fetchone() or (now, now)
    if now < booked:  # the clock was set back: keep the queue as long as it was
        following -= booked - now
    slot = max(following, now)
    connection.execute("INSERT OR REPLACE INTO slots VALUES (?, ?, ?)", (call.provider, slot + limits.gap, now))
    if slot > now:
        return float(slot - now)
    book(connection, call, limits, now)
    return 0.0


def book(connection: sqlite3.Connection, call: Call, limits: Limits, now: float) -> None:
    """Write the call down as started. Raises `SpendingCapError` if it would exceed a cap."""
    _check_caps(connection, call, limits, now)
    connection.execute(
        "INSERT INTO calls VALUES (?, ?, ?, ?, 'started', ?, ?, ?)",
        (call.id, call.provider, call.key, call.owner, utc(now), call.cost_units, limits.price),
    )
    connection.execute(
        "INSERT INTO usage VALUES (?, ?, 1, 0, 0, 0, ?, ?) ON CONFLICT DO UPDATE SET "
        "calls = calls + 1, cost_units = cost_units + excluded.cost_units, spend = spend + excluded.spend",
        (call.provider, day_of(now), call.cost_units, call.cost_units * limits.price),
    )


def settle(connection: sqlite3.Connection, call_id: str, outcome: Outcome) -> None:
    """Write down what became of a started call; `unsent` forgets it. One that is settled already stays as it is."""
    row = connection.execute(
        "SELECT provider, time, cost_units, price FROM calls WHERE id = ? AND state = 'started'", (call_id,)
    ).fetchone()
    if row is None:
        return
    provider, time, cost_units, price = row
    if outcome == "unsent":
        connection.execute("DELETE FROM calls WHERE id = ?", (call_id,))
    else:
        connection.execute("UPDATE calls SET state = ? WHERE id = ?", (outcome, call_id))
    billed = outcome in {"answered", "lost"}
    counted = [outcome == state for state in ("unsent", "answered", "failed", "lost")]
    connection.execute(
        "UPDATE usage SET calls = calls - ?, answered = answered + ?, failed = failed + ?, lost = lost + ?, "
        "cost_units = cost_units - ?, spend = spend - ? WHERE provider = ? AND day = ?",
        (*counted, 0 if billed else cost_units, 0 if billed else cost_units * price, provider, time[:10]),
    )


def pause(connection: sqlite3.Connection, provider: str, seconds: float, now: float) -> None:
    """Leave a provider alone for some time: it asked for that, and means all processes."""
    connection.execute(
        "INSERT INTO slots VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET next = max(next, excluded.next)",
        (provider, now + seconds, now),
    )


def lose_calls_of(connection: sqlite3.Connection, owner: str) -> None:
    """Mark the started calls of an owner that died as lost."""
    for (call_id,) in connection.execute(
        "SELECT id FROM calls WHERE owner = ? AND state = 'started'", (owner,)
    ).fetchall():
        settle(connection, call_id, "lost")


def _check_caps(connection: sqlite3.Connection, call: Call, limits: Limits, now: float) -> None:
    since = first_day(limits.period, now)
    if limits.max_calls is not None:
        (calls,) = connection.execute(
            "SELECT coalesce(sum(calls), 0) FROM usage WHERE provider = ? AND day >= ?", (call.provider, since)
        ).fetchone()
        if calls >= limits.max_calls:
            raise SpendingCapError(
                f"max_search_calls: {calls:,} of {limits.max_calls:,} calls to {call.provider} are used and the next one "
                f"was not sent; {period_end(limits.period, now)}"
            )
    if limits.max_spend is not None:
        (spend,) = connection.execute("SELECT coalesce(sum(spend), 0) FROM usage WHERE day >= ?", (since,)).fetchone()
        cost = call.cost_units * limits.price
        if cost and spend + cost > limits.max_spend * (1 + _ROUNDING) + _ROUNDING * cost:
            raise SpendingCapError(
                f"max_search_spend: {spend:.10g} of {limits.max_spend:.10g} is spent and the next call to {call.provider}, "
                f"at {cost:.10g}, was not sent; {period_end(limits.period, now)}"
            )


@dataclass(frozen=True)
class Usage:
    """What a provider was asked in one period. `calls` were sent; the rest of them is still under way."""

    provider: str
    period: str
    calls: int
    answered: int
    failed: int
    lost: int
    """Possibly billed."""
    cost_units: float
    """Of calls that were or may have been billed."""
    spend: float


def usage(connection: sqlite3.Connection, now: float) -> list[Usage]:
    """What counts against the caps at Unix time `now`, by provider, for the current day, month, and ever."""
    rows = []
    for period in ("day", "month", "forever"):
        rows += connection.execute(
            "SELECT provider, ?, sum(calls), sum(answered), sum(failed), sum(lost), sum(cost_units), sum(spend) FROM usage "
            "WHERE day >= ? GROUP BY provider",
            (period, first_day(period, now)),
        ).fetchall()
    return [Usage(*row) for row in sorted(rows, key=lambda row: row[0])]
