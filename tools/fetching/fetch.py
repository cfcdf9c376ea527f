"""The pages behind search results: fetched politely and warily, and reduced to their main text."""

from __future__ import annotations

import asyncio
from collections import Counter

import httpcore
import httpx

from webrec.tools.fetching.addresses import Refused, page_url
from webrec.tools.fetching.download import (
    REDIRECTS,
    Download,
    Downloader,
    NotOk,
    Redirect,
    TooManyRedirects,
    WrongType,
    redirected,
)
from webrec.tools.fetching.extraction import ExtractionError, Extractor
from webrec.tools.fetching.extractor import TEXT_CHARACTERS, known_charset
from webrec.tools.fetching.fetched_page import FetchedPage
from webrec.tools.fetching.network import Connector, Resolver, connect
from webrec.tools.fetching.resolver import resolve
from webrec.tools.fetching.robots import RobotsFiles, RobotsUnreadable
from webrec.tools.providers.bounded_body import TooLarge, Unreadable
from webrec.tools.searching.joining import inside
from webrec.tools.text_safety import clean

EXTRACTION_SECONDS = 5.0
"""For one page, waiting for others not counted: a usual page takes some hundredths of a second."""
TIMEOUTS = 2
"""In a row, of one site: its pages come one after the other, and each of them would be waited for as long."""
PAGE_TYPES = frozenset({"text/html", "application/xhtml+xml", "text/plain"})
PLAIN_BYTES = 10 * TEXT_CHARACTERS
"""Of a page without markup: what is read of it to find the text that is kept."""


class PageFetcher:
    """Fetches pages within one event loop; close it when done. A site's robots.txt is obeyed.

    Over all fetchers of the process one page of a site at a time, and `concurrency` of all sites. A site that did not answer in
    time `TIMEOUTS` times in a row is not asked again.

    `seconds` bounds the download of each page, robots.txt and redirects included. `resolver` and `connector` are for tests.
    """

    def __init__(
        self,
        *,
        seconds: float,
        max_bytes: int,
        concurrency: int,
        resolver: Resolver = resolve,
        connector: Connector = connect,
    ) -> None:
        self._seconds, self._max_bytes = seconds, max_bytes
        self._downloader = Downloader(max_bytes, resolver, connector)
        self._robots = RobotsFiles(self._downloader)
        self._extractor = Extractor()
        self._concurrency = concurrency
        self._timeouts: Counter[str] = Counter()

    async def fetch(self, url: str) -> FetchedPage:
        """What is at `url`; never raises for what the address or the server does."""
        try:
            address = page_url(url)
        except Refused as error:
            return FetchedPage(url, url, "refused", str(error))
        async with inside(f"site {address.host}", 1), inside("pages fetched", self._concurrency):
            if self._timeouts[address.host] >= TIMEOUTS:
                return FetchedPage(url, url, "failed", "its site did not answer in time before")
            answer = await self._download(url, address)
        return answer if isinstance(answer, FetchedPage) else await self._read(url, answer)

    async def aclose(self) -> None:
        """Close the connections and end the extracting process."""
        await self._downloader.aclose()
        await self._extractor.aclose()

    async def _download(self, url: str, address: httpx.URL) -> Download | FetchedPage:
        silent = 0
        try:
            async with asyncio.timeout(self._seconds):
                try:
                    answer = await self._follow(address)
                finally:
                    silent = self._timeouts.pop(address.host, 0)  # whatever it says, it answers; else see below
            return answer or FetchedPage(url, url, "robots", "the site's robots.txt forbids it")
        except Refused as error:
            return FetchedPage(url, url, "refused", str(error))
        except RobotsUnreadable:
            return FetchedPage(url, url, "failed", "the site's robots.txt cannot be read")
        except TooLarge:
            return FetchedPage(url, url, "too_large", "the page is larger than fetch_bytes", bytes=self._max_bytes)
        except WrongType as error:
            return FetchedPage(url, url, "not_text", f"the page is {clean(str(error), 60)}, not text")
        except NotOk as error:
            return FetchedPage(url, url, "failed", str(error))
        except TooManyRedirects:
            return FetchedPage(url, url, "failed", "redirects lead nowhere")
        except TimeoutError:
            self._timeouts[address.host] = silent + 1
            return FetchedPage(url, url, "failed", f"no answer within {self._seconds:g} s")
        except (Unreadable, httpcore.ProtocolError):
            return FetchedPage(url, url, "failed", "the answer is malformed")
        except (httpcore.NetworkError, httpcore.TimeoutException, OSError):
            return FetchedPage(url, url, "failed", "the connection failed or its certificate is not valid")

    async def _follow(self, address: httpx.URL) -> Download | None:
        """The page at the end of the redirects; None if a robots.txt on the way forbids it."""
        for _ in range(REDIRECTS + 1):
            if not await self._robots.allow(address):
                return None
            answer = await self._downloader.get(address, PAGE_TYPES)
            if not isinstance(answer, Redirect):
                return answer
            address = redirected(address, answer)
        raise TooManyRedirects

    async def _read(self, url: str, answer: Download) -> FetchedPage:
        final, size = str(answer.url), len(answer.body)
        if answer.media_type == "text/plain":
            title, time = "", ""
            text = clean(_plain(answer), TEXT_CHARACTERS)
        else:
            try:
                extracted = await self._extractor.extract(answer.body, answer.charset, EXTRACTION_SECONDS)
            except ExtractionError as error:
                return FetchedPage(url, final, "failed", str(error), bytes=size)
            title, text, time = extracted.title, extracted.text, extracted.time
        if not text:
            return FetchedPage(url, final, "empty", "the page holds no main text", title, "", time, size)
        return FetchedPage(url, final, "fetched", "", title, text, time, size)


def _plain(answer: Download) -> str:
    try:
        return answer.body[:PLAIN_BYTES].decode(known_charset(answer.charset) or "utf-8", "replace")
    except (LookupError, ValueError):  # one of Python's that makes no text of bytes
        return answer.body[:PLAIN_BYTES].decode("utf-8", "replace")
