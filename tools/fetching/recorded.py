"""Fetched pages from the record where they are there, so that an evaluation can be repeated with the network off."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Protocol

from webrec.errors import NotRecordedError
from webrec.tools.fetching.fetch import PageFetcher
from webrec.tools.fetching.fetched_page import FetchedPage
from webrec.tools.searching.settings import RecordSettings
from webrec.tools.searching.store import SearchStore, open_store


class FetchSettings(RecordSettings, Protocol):
    """Fields of `FetchConfig` and `LimitsConfig` (`webrec.tools.config`)."""

    @property
    def fetch_seconds(self) -> float:
        """Longest wait for one page."""

    @property
    def fetch_bytes(self) -> int:
        """Most bytes of one page."""

    @property
    def fetch_concurrency(self) -> int:
        """Most pages at a time."""


def _fetcher(config: FetchSettings) -> PageFetcher:
    return PageFetcher(seconds=config.fetch_seconds, max_bytes=config.fetch_bytes, concurrency=config.fetch_concurrency)


async def fetch_recorded(
    urls: Sequence[str],
    config: FetchSettings,
    store: SearchStore | None = None,
    make_fetcher: Callable[[FetchSettings], PageFetcher] = _fetcher,
) -> list[FetchedPage]:
    """What came of fetching each of `urls`, in their order; a page that was recorded is not fetched again.

    Every outcome is recorded as it comes, and given again in a replay; otherwise one that a new attempt may better (`failed`, and
    `too_large` for a smaller `fetch_bytes` than now) is fetched anew. Raises `NotRecordedError` in a replay for a page that is not recorded.
    """
    if store is None:  # a relative path is looked up on the disk
        store = await asyncio.to_thread(open_store, config.search_store)
    age = None if config.search_replay else config.search_max_age_days
    found: dict[str, FetchedPage] = {}
    for url in dict.fromkeys(urls):
        record = await store.find("page", url, age)
        page = None if record is None else FetchedPage(**record.content)
        if page is not None and (config.search_replay or not _may_be_bettered(page, config.fetch_bytes)):
            found[url] = page
        elif config.search_replay:
            raise NotRecordedError(
                "search_replay: a page behind a result is not recorded, and nothing was sent; record it first, with the same "
                "settings and search_store"
            )
    missing = [url for url in dict.fromkeys(urls) if url not in found]
    if missing:
        fetcher = make_fetcher(config)

        async def fetch(url: str) -> None:
            found[url] = await fetcher.fetch(url)
            await store.put("page", url, asdict(found[url]))

        try:
            for outcome in await asyncio.gather(*map(fetch, missing), return_exceptions=True):
                if outcome is not None:
                    raise outcome
        finally:
            await fetcher.aclose()
    return [found[url] for url in urls]


def _may_be_bettered(page: FetchedPage, most_bytes: int) -> bool:
    return page.status == "failed" or (page.status == "too_large" and page.bytes < most_bytes)
