"""Waiting for another process that asks the same."""

from __future__ import annotations

import asyncio
import sqlite3
import time

from webrec.errors import SearchError
from webrec.tools.searching import claims, records
from webrec.tools.searching.attempts import LimitedAttempts
from webrec.tools.searching.claims import Claim
from webrec.tools.searching.records import Record
from webrec.tools.searching.store import SearchStore

FIRST_PAUSE = 0.02
LONGEST_PAUSE = 0.25
"""Seconds between looks at another process's claim."""


async def claim_or_record(attempts: LimitedAttempts, since: str) -> Record | SearchError | None:
    """None with our claim on the key, if nobody asks; else what came of it: the record, or the shared failure.

    If the process that asked died, its calls are marked lost, and exactly one of those who wait gets the claim. Keys are
    claimed only as calls can be made, not in advance, and waiting for another process takes no place from calls.
    """
    store, key = attempts.store, attempts.key

    def look_or_take(connection: sqlite3.Connection) -> Claim | Record:
        record = records.find(connection, "search", key, since)
        return record or claims.take(connection, key, Claim(attempts.claim, store.owner()), time.time())

    while True:
        await attempts.enter()
        found = await store.run(look_or_take, write=True)
        if isinstance(found, Claim) and found.token == attempts.claim:
            return None
        attempts.leave()
        if isinstance(found, Record):
            return found
        failure = await _outcome(store, key, found)
        if failure is not None:
            return failure


async def _outcome(store: SearchStore, key: str, awaited: Claim) -> SearchError | None:
    """Wait until the claim is gone: its failure, or None where the record may hold the answer or the key is free."""
    pause = FIRST_PAUSE
    while not await store.take_over_if_dead(awaited.owner):
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)
        standing = await store.run(lambda connection: claims.look(connection, key))
        if standing is None or standing.token != awaited.token:
            return None
        if standing.failure is not None:
            return standing.failure
    return None
