"""Asking a provider: from the record if it was asked before, else within the limits, once for all who ask the same."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass

from pydantic import TypeAdapter

from webrec.errors import ConfigurationError, NotRecordedError, SearchError
from webrec.tools.page import MeteredProvider, Page, SearchProvider
from webrec.tools.searching import records
from webrec.tools.searching.attempts import Attempts, LimitedAttempts
from webrec.tools.searching.claiming import claim_or_record
from webrec.tools.searching.limits import Limits
from webrec.tools.searching.records import Record
from webrec.tools.searching.retry import with_retries
from webrec.tools.searching.settings import AskSettings
from webrec.tools.searching.store import SearchStore, open_store

_PAGES = TypeAdapter(tuple[Page, ...])


@dataclass(frozen=True)
class SearchAnswer:
    """Pages, best first, and what it took to get them."""

    pages: tuple[Page, ...]
    attempts: int
    """Calls sent for this answer; 0 if it was recorded, or another asker sent them."""
    waited: float
    """Seconds not spent in calls: our limits, pauses between attempts, another asker."""
    cost_units: float
    """What these calls cost, in the provider's own units."""
    possibly_billed: int
    """Calls among them whose answer was lost."""
    recorded: str | None
    """When the answer was recorded, UTC ISO 8601; None if this provider's answers are not."""
    from_record: bool
    """Whether nothing was sent for this asker."""


async def ask(
    provider: SearchProvider, query: str, limit: int, config: AskSettings, store: SearchStore | None = None
) -> SearchAnswer:
    """At most `limit` pages for `query`.

    A `MeteredProvider` is asked only if no record is young enough, within the limits, and once for all who ask the same
    at the same time, in any thread or process; whoever waited also shares the failure, so that a service in trouble is
    not asked again by each. (A refusal by one asker's own caps is not shared: the next one tries.) Any other provider
    is asked as it is. A replay only reads the record. `store`: by default the one at `config.search_store`.

    Raises `SearchError` if there is no answer: `SpendingCapError` if a cap forbids the call, `NotRecordedError` in a
    replay; `ConfigurationError` for settings that cannot work.
    """
    if not isinstance(provider, MeteredProvider):
        return await _ask_unrecorded(provider, query, limit, config)
    if store is None:  # a relative path is looked up on the disk
        store = await asyncio.to_thread(open_store, config.search_store)
    key = records.search_key(provider.name, query, limit, provider.options)
    if config.search_replay:
        record = await store.find("search", key)
        if record is None:
            raise NotRecordedError(
                f"search_replay: this search with {provider.name} is not recorded, and nothing was sent; record it first, "
                "with the same settings and search_store"
            )
        return _from_record(record, limit, 0.0)
    limits = Limits.of(config, provider.name, provider.cost_units)
    begun = time.monotonic()
    since = records.oldest_admitted(time.time(), config.search_max_age_days)
    waited = False
    while True:
        record = await store.run(lambda connection: records.find(connection, "search", key, since))
        if record is not None:
            return _from_record(record, limit, time.monotonic() - begun if waited else 0.0)
        attempts = LimitedAttempts(
            provider, query, limit, config.search_concurrency, store, key, limits, longest_pause=config.search_seconds
        )
        flight, ours = store.flights.board(key)
        if not ours:
            waited = True
            failure = await store.flights.wait(flight)
            if failure is not None:
                raise failure.again()
            continue
        try:
            return await _ask_once(attempts, since, config, begun)
        finally:
            store.flights.land(key, flight, attempts.shared_failure)


async def _ask_once(attempts: LimitedAttempts, since: str, config: AskSettings, begun: float) -> SearchAnswer:
    """Ask, or get what another process asked."""
    try:
        found = await claim_or_record(attempts, since)
        if isinstance(found, Record):
            return _from_record(found, attempts.limit, time.monotonic() - begun)
        if isinstance(found, SearchError):
            attempts.shared_failure = found
            raise found.again()
        tried = await with_retries(
            attempts.call,
            attempts=config.search_attempts,
            total_seconds=config.search_seconds,
            attempt_seconds=config.attempt_seconds,
            before=attempts.before,
            failed=attempts.failed,
            name=attempts.name,
        )
        content = json.loads(_PAGES.dump_json(tuple(tried.value[: attempts.limit])))  # a score that is no number: null
        record = await attempts.record(content, tried.attempts)
    except BaseException as error:
        attempts.give_up(error)
        raise
    return SearchAnswer(
        pages=_pages(record, attempts.limit),
        attempts=record.attempts,
        waited=max(0.0, time.monotonic() - begun - attempts.seconds),
        cost_units=record.cost_units,
        possibly_billed=record.possibly_billed,
        recorded=record.recorded,
        from_record=False,
    )


async def _ask_unrecorded(provider: SearchProvider, query: str, limit: int, config: AskSettings) -> SearchAnswer:
    offline = bool(getattr(provider, "offline", False))
    if config.search_replay and not offline:
        raise ConfigurationError(
            f"search_replay: answers of {provider.name} are not recorded; give it cost_units and options "
            "(webrec.tools.page.MeteredProvider), or offline = True if nothing leaves the machine"
        )
    begun = time.monotonic()
    attempts = Attempts(provider, query, limit, config.search_concurrency)
    try:
        tried = await with_retries(
            attempts.call,
            attempts=1 if offline else config.search_attempts,
            total_seconds=config.search_seconds,
            # The first question to a large local index also builds it.
            attempt_seconds=config.search_seconds if offline else config.attempt_seconds,
            before=attempts.before,
            failed=attempts.failed,
            name=provider.name,
        )
    finally:
        attempts.leave()
    return SearchAnswer(
        pages=tuple(tried.value[:limit]),
        attempts=tried.attempts,
        waited=max(0.0, time.monotonic() - begun - attempts.seconds),
        cost_units=0.0,
        possibly_billed=0,
        recorded=None,
        from_record=False,
    )


def _from_record(record: Record, limit: int, waited: float) -> SearchAnswer:
    return SearchAnswer(_pages(record, limit), 0, waited, 0.0, 0, record.recorded, True)


def _pages(record: Record, limit: int) -> tuple[Page, ...]:
    """Also a fresh answer is read back, so that a replay gives the very same pages."""
    return _PAGES.validate_python(record.content)[:limit]
