"""Fetched pages are recorded, used again, and replayed without a network."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from webrec.errors import NotRecordedError
from webrec.nodes.context import RunContext
from webrec.tools.fetching.fetch import PageFetcher
from webrec.tools.fetching.fetched_page import FetchedPage
from webrec.tools.fetching.recorded import FetchSettings, fetch_recorded
from webrec.tools.searching.store import SearchStore

from ...web_site import PARAGRAPHS, Route, Site  # noqa: TID252

GOOD, BAD = "http://site.example/good", "http://site.example/bad"


class Recording:
    """A site, and the recorded fetching of its pages."""

    def __init__(self, site: Site, store: SearchStore) -> None:
        self.site, self.store, self.fetchers = site, store, list[PageFetcher]()

    async def fetch(self, *urls: str, **settings: object) -> list[FetchedPage]:
        def make(config: FetchSettings) -> PageFetcher:
            self.fetchers.append(self.site.fetcher(seconds=config.fetch_seconds, max_bytes=config.fetch_bytes))
            return self.fetchers[-1]

        return await fetch_recorded(urls, RunContext.model_validate(settings), self.store, make)


@pytest.fixture
async def recording(tmp_path: Path) -> AsyncIterator[Recording]:
    good: Route = lambda h: h.answer(PARAGRAPHS[0], kind="text/plain")  # noqa: E731
    site = Site({"/good": good, "/bad": lambda h: h.answer("", status=500)})
    store = SearchStore(tmp_path / "store.sqlite3")
    yield Recording(site, store)
    store.close()
    site.close()


def statuses(pages: Sequence[FetchedPage]) -> list[str]:
    return [page.status for page in pages]


async def test_what_came_of_a_page_is_kept_and_a_failure_is_tried_again(recording: Recording) -> None:
    first = await recording.fetch(GOOD, BAD, GOOD)
    assert statuses(first) == ["fetched", "failed", "fetched"]
    assert recording.site.paths() == ["/good", "/bad"]
    second = await recording.fetch(GOOD, BAD)
    assert second == first[:2]
    assert recording.site.paths() == ["/good", "/bad", "/bad"]


async def test_replay_gives_the_same_pages_and_sends_nothing(recording: Recording) -> None:
    first = await recording.fetch(GOOD, BAD)
    asked, made = list(recording.site.log), len(recording.fetchers)
    assert await recording.fetch(BAD, GOOD, search_replay=True) == first[::-1]
    with pytest.raises(NotRecordedError, match="search_replay"):
        await recording.fetch(GOOD, "http://site.example/other", search_replay=True)
    assert (recording.site.log, len(recording.fetchers)) == (asked, made)


async def test_an_old_record_is_fetched_again(recording: Recording) -> None:
    await recording.fetch(GOOD)
    await recording.fetch(GOOD, search_max_age_days=0)
    assert recording.site.paths() == ["/good", "/good"]
    await recording.fetch(GOOD, search_max_age_days=None)
    assert recording.site.paths() == ["/good", "/good"]


async def test_limits_reach_the_fetcher(recording: Recording) -> None:
    (page,) = await recording.fetch(GOOD, fetch_bytes=1_000)
    assert page.status == "fetched"
    recording.site.server.routes["/big"] = lambda h: h.answer("x" * 2_000, kind="text/plain")  # type: ignore[attr-defined]
    (page,) = await recording.fetch("http://site.example/big", fetch_bytes=1_000)
    assert (page.status, page.text, page.bytes) == ("too_large", "", 1_000)
    (page,) = await recording.fetch("http://site.example/big", fetch_bytes=1_000)
    assert recording.site.paths().count("/big") == 1
    (page,) = await recording.fetch("http://site.example/big", fetch_bytes=5_000)
    assert (page.status, len(page.text)) == ("fetched", 2_000)


async def test_pages_are_recorded_as_they_come(recording: Recording) -> None:
    """Cut off while one is waited for, the others are not fetched again."""
    hold = threading.Event()
    recording.site.server.routes["/slow"] = lambda h: (hold.wait(10), h.answer("late", kind="text/plain"))  # type: ignore[attr-defined]
    task = asyncio.create_task(recording.fetch(GOOD, "http://other.example/slow"))
    while await recording.store.find("page", GOOD, None) is None:  # noqa: ASYNC110 (the store tells nobody)
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    hold.set()
    assert statuses(await recording.fetch(GOOD)) == ["fetched"]
    assert recording.site.paths().count("/good") == 1
