"""The calls for one answer: bounded, booked before they are sent, and settled whatever happens."""

from __future__ import annotations

import asyncio
import inspect
import sqlite3
import time
import uuid
from collections.abc import Sequence
from typing import Any

from webrec.errors import ConfigurationError, SearchError, WebRecError
from webrec.tools.page import MeteredProvider, Page, SearchProvider
from webrec.tools.searching import claims, ledger, records
from webrec.tools.searching.joining import turnstile
from webrec.tools.searching.ledger import Call, Outcome
from webrec.tools.searching.limits import Limits
from webrec.tools.searching.records import Record
from webrec.tools.searching.store import SearchStore

LATE = 0.1
"""Seconds. A call that its machine held up for longer than this takes a new slot: else all that were held up would leave at once."""
MOST_SLOTS = 10
"""After so many a call leaves late: a machine that is always busy must get on too."""


class Attempts:
    """Bounded calls. `call`, `before` and `failed` are what `with_retries` wants."""

    def __init__(self, provider: SearchProvider, query: str, limit: int, concurrency: int) -> None:
        self.name = provider.name
        self.limit = limit
        self.seconds = 0.0
        """Spent in calls."""
        self._provider = provider
        self._query = query
        self._concurrency = concurrency
        self._turnstile = turnstile(provider.name)
        self._inside = False

    async def call(self) -> list[Page]:
        """Send one call.

        Whatever breaks in a provider is its failure: `SearchError`, told by its type alone, since its text may hold key or query.
        Raises `ConfigurationError` for what cannot be awaited or gives no pages.
        """
        begun = time.monotonic()
        try:
            return await self._pages()
        except (WebRecError, TimeoutError):  # of the latter `with_retries` makes a late answer
            raise
        except Exception as error:
            raise SearchError(f"{self.name} failed ({type(error).__name__})", lost=True) from error
        finally:
            self.seconds += time.monotonic() - begun

    async def _pages(self) -> list[Page]:
        asked: Any = self._provider.search(self._query, self.limit)
        if not inspect.isawaitable(asked):
            raise ConfigurationError(
                f"providers: search of {self.name} gave {type(asked).__name__} at once; write it as async def search(self, query, "
                "limit) that returns a list of pages"
            )
        found: Any = await asked
        if isinstance(found, Sequence):
            odd = next((f"a list with {type(one).__name__}" for one in found if not isinstance(one, Page)), None)
        else:
            odd = type(found).__name__
        if odd is not None:
            raise ConfigurationError(f"providers: search of {self.name} gave {odd}; return a list of webrec.Page")
        return list(found)

    async def before(self) -> float:
        """Wait until a call may be sent: seconds waited."""
        begun = time.monotonic()
        await self.enter()
        return time.monotonic() - begun

    async def enter(self) -> None:
        """Wait for a place among the calls to the provider, unless there is one already."""
        if not self._inside:
            await self._turnstile.enter(self._concurrency)
            self._inside = True

    async def failed(self, error: SearchError) -> None:
        """Let the next one in while we pause."""
        self.leave()

    def leave(self) -> None:
        """Make room, if a call was let in."""
        if self._inside:
            self._inside = False
            self._turnstile.leave()


class LimitedAttempts(Attempts):
    """Calls within the limits that all processes share, made under a claim on the key."""

    def __init__(
        self,
        provider: MeteredProvider,
        query: str,
        limit: int,
        concurrency: int,
        store: SearchStore,
        key: str,
        limits: Limits,
        longest_pause: float,
    ) -> None:
        """`longest_pause`: most seconds that the provider is left alone when it asks for it."""
        super().__init__(provider, query, limit, concurrency)
        self.store = store
        self.key = key
        self.claim = uuid.uuid4().hex
        self.shared_failure: SearchError | None = None
        """What those who waited for us are told: the provider's failure, not our own caps or store."""
        self._cost_units = provider.cost_units
        self._limits = limits
        self._longest_pause = longest_pause
        self._call: str | None = None
        self._sent = False
        self._lost = 0
        self._own_failure: WebRecError | None = None

    async def call(self) -> list[Page]:
        """Send the call that was booked."""
        self._sent = True
        return await super().call()

    async def before(self) -> float:
        """Wait for a place and a slot, and book the call. Raises `SpendingCapError` if a cap forbids it."""
        begun = time.monotonic()
        await self.enter()
        self._sent = False
        self._call = call_id = (
            uuid.uuid4().hex
        )  # chosen here, so that it can be settled even if we are cancelled meanwhile

        def the_call() -> Call:
            return Call(call_id, self.name, self.key, self.store.owner(), self._cost_units)

        def reserve(connection: sqlite3.Connection) -> float:
            return ledger.reserve(connection, the_call(), self._limits, time.time())

        def book(connection: sqlite3.Connection) -> None:
            ledger.book(connection, the_call(), self._limits, time.time())

        try:
            wait = await self.store.run(reserve, write=True)
            slots = 1
            while wait > 0:
                due = time.monotonic() + wait
                await asyncio.sleep(wait)
                if time.monotonic() - due <= max(self._limits.gap, LATE) or slots == MOST_SLOTS:
                    await self.store.run(book, write=True)
                    break
                wait = await self.store.run(reserve, write=True)
                slots += 1
        except WebRecError as error:
            self._own_failure = error
            raise
        return time.monotonic() - begun

    async def failed(self, error: SearchError) -> None:
        """Settle the call; a service that asks to be left alone is left alone by all processes."""
        await super().failed(error)
        call, self._call = self._call, None
        outcome: Outcome = "lost" if error.lost else "failed"
        self._lost += error.lost
        pause = min(error.retry_after or 0.0, self._longest_pause)

        def settle(connection: sqlite3.Connection) -> None:
            if call is not None:
                ledger.settle(connection, call, outcome)
            if pause > 0:
                ledger.pause(connection, self.name, pause, time.time())

        try:
            await self.store.run(settle, write=True)
        except WebRecError as own:
            self._own_failure = own
            raise

    async def record(self, content: list[dict[str, Any]], attempts: int) -> Record:
        """The answer is here: record it, settle its call and give up the claim, all or nothing."""
        self.leave()
        record = Record(
            "search", self.key, content, records.utc(time.time()), self.name, attempts, self._cost_units, self._lost
        )

        def finish(connection: sqlite3.Connection) -> None:
            if self._call is not None:
                ledger.settle(connection, self._call, "answered")
            records.put(connection, record)
            claims.release(connection, self.key, self.claim)

        try:
            await self.store.run(finish, write=True, durable=True)
        except WebRecError as error:
            self._own_failure = error
            raise
        return record

    def give_up(self, error: BaseException) -> None:
        """There is no answer: settle what is open. Waits for nothing, so it also works where a task is cancelled."""
        self.leave()
        shared = error if isinstance(error, SearchError) and error is not self._own_failure else None
        self.shared_failure = self.shared_failure or shared
        call, outcome = self._call, ("lost" if self._sent else "unsent")

        def clear(connection: sqlite3.Connection) -> None:
            if call is not None:
                ledger.settle(connection, call, "lost" if outcome == "lost" else "unsent")
            if shared is not None:
                claims.fail(connection, self.key, self.claim, shared, time.time())
            else:
                claims.release(connection, self.key, self.claim)

        self.store.run_later(clear)
