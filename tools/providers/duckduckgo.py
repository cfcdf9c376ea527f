"""DuckDuckGo, without a key, by its page for browsers without scripts (extra: duckduckgo).

DuckDuckGo offers no API for web search. The maintained library `ddgs` knows that page's form and markup, but its own
client takes no address, follows redirects, reads answers of any length, runs in threads that cannot be stopped, and makes
"nothing found" of every refusal. So ddgs writes the question and reads the answer, and the request between the two is made
here, with the asynchronous client of the HTTP library that ddgs itself uses (`primp`), presented as a browser as ddgs does.

Good for trying things out: the service may refuse who asks often, and its markup may change before ddgs follows.
"""

from __future__ import annotations

import functools
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from webrec.errors import SearchError, missing_extra
from webrec.tools.page import Page
from webrec.tools.providers.answers import pages_of
from webrec.tools.providers.http_failures import refusal

if TYPE_CHECKING:
    import primp
    from ddgs.engines.duckduckgo import Duckduckgo

PAGE_URL = "https://html.duckduckgo.com"
MAX_BYTES = 2_000_000
"""Of an answer, after decompression."""
_REFUSED = "refuses too many questions from one address; wait, ask less often, or use another provider"
_MEANINGS = {status: f"refused (HTTP {status}): it {_REFUSED}" for status in (401, 403, 429)}
_NOTHING_FOUND = re.compile(r"""class=["'][^"'<>]*\bno-results\b""")
_REDIRECT = re.compile(r"(?:https?:)?//duckduckgo\.com/l/\?uddg=(?P<target>.*?)(?:&rut=.*)?")


@dataclass(frozen=True)
class DuckDuckGo:
    """DuckDuckGo `/html/`, in all regions. `base_url` is for tests and is set in code only."""

    base_url: str = PAGE_URL
    name: str = "duckduckgo"
    query_limit: int | None = 500

    @property
    def cost_units(self) -> float:
        """Nothing is billed."""
        return 0.0

    @property
    def options(self) -> Mapping[str, str | int | float | bool]:
        """What is asked for beside the query."""
        return {"region": "wt-wt"}

    async def search(self, query: str, limit: int) -> list[Page]:
        """At most `limit` pages of the first results page (about 10), best first.

        Raises `SearchError`, also for a page that neither lists results nor says that there are none; `MissingExtraError`
        without the extra.
        """
        require_duckduckgo_extra()
        text = await self._page_text(query)
        results = _results(text)
        if not results and _NOTHING_FOUND.search(text):
            return []
        if not results:
            raise SearchError(
                f"{self.name} answered a page of an unknown shape; it may want to know whether a person is asking",
                lost=True,
            )
        return pages_of(self.name, results, limit, _fields)

    async def _page_text(self, query: str) -> str:
        import primp

        form = _engine().build_payload(query=query, region="wt-wt", safesearch="moderate", timelimit=None)
        body = bytearray()
        try:
            response = await _client().request("POST", f"{self.base_url}/html/", data=form, stream=True)
            async with response:
                if response.status_code == 202:  # a riddle for robots, not an answer
                    raise SearchError(f"{self.name} refused (HTTP 202): it {_REFUSED}")
                if response.status_code != 200:
                    raise refusal(self.name, response.status_code, response.headers, _MEANINGS)
                async for part in response.aiter_bytes():
                    body += part
                    if len(body) > MAX_BYTES:
                        raise SearchError(f"{self.name} answered more than {MAX_BYTES:,} bytes", lost=True)
        except (primp.ConnectError, primp.DNSError) as error:
            raise SearchError(f"{self.name} could not be reached ({type(error).__name__})", retry=True) from None
        except primp.PrimpError:  # it does not say which of the two
            raise SearchError(
                f"{self.name} broke off the connection, or its answer could not be decompressed", retry=True, lost=True
            ) from None
        return body.decode("utf-8", "replace")


def require_duckduckgo_extra() -> None:
    """Raises `MissingExtraError` without ddgs."""
    if importlib.util.find_spec("ddgs") is None:
        raise missing_extra("duckduckgo", "ddgs")


@functools.cache
def _engine() -> Duckduckgo:
    from ddgs.engines.duckduckgo import Duckduckgo

    return Duckduckgo()


@functools.cache
def _client() -> primp.AsyncClient:
    """One for all event loops; the caller sets the time limit.

    It works in threads of its own: no more than there are calls at a time, and they end when idle.
    """
    import primp

    return primp.AsyncClient(
        headers=dict(_engine().headers_update) or None,
        impersonate="random",
        impersonate_os="random",
        follow_redirects=False,
        cookie_store=False,
    )


def _results(text: str) -> list[dict[str, Any]]:
    """What ddgs reads from the page, without its advertisements and empty entries."""
    from lxml.etree import LxmlError  # type: ignore[import-untyped]

    engine = _engine()
    try:
        found = engine.post_extract_results(engine.extract_results(text))
    except (LxmlError, ValueError):  # empty, or no HTML at all
        return []
    return [vars(result) for result in found if result.title or result.href]


def _fields(result: Mapping[str, Any]) -> Mapping[str, Any]:
    redirect = _REDIRECT.fullmatch(result["href"])
    return {
        "title": result["title"],
        "url": redirect["target"] if redirect else result["href"],
        "snippet": result["body"],
    }
