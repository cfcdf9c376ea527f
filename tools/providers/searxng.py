"""SearXNG, a metasearch engine that one runs oneself, by its documented HTTP API.

The wrapper in `langchain-community` (archived) takes no timeout, so the API is called directly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from webrec.errors import ConfigurationError, SearchError
from webrec.tools.page import Page
from webrec.tools.providers.answers import pages_of
from webrec.tools.providers.http_json import request_json
from webrec.tools.text_safety import service_address

_MEANINGS = {
    401: "asks for a login (HTTP 401), which WebRec cannot give; use an instance without one",
    403: "refused (HTTP 403): most likely its JSON format is off; add json to search.formats in the instance's settings.yml",
    404: "has no search at searxng_url (HTTP 404); give the instance's own address",
    429: "refused by its limiter (HTTP 429); ask less often, or let your address pass in the instance's limiter.toml",
}


@dataclass(frozen=True)
class SearXNG:
    """SearXNG `/search` with `format=json`, of the instance at `instance_url` (no query, no credentials)."""

    instance_url: str
    name: str = "searxng"
    query_limit: int | None = None

    @property
    def cost_units(self) -> float:
        """An own instance bills nothing."""
        return 0.0

    @property
    def options(self) -> Mapping[str, str | int | float | bool]:
        """The instance: each has its own engines and defaults."""
        return {"instance": self.instance_url}

    async def search(self, query: str, limit: int) -> list[Page]:
        """At most `limit` pages of the first results page (about 20), best first.

        Raises `SearchError`, also if there are no results and the instance says that engines did not answer: then
        nothing is known about what they would have found.
        """
        answer = await request_json(
            self.name,
            "GET",
            f"{self.instance_url}/search",
            meanings=_MEANINGS,
            params={"q": query, "format": "json"},
        )
        results, silent = answer.get("results"), answer.get("unresponsive_engines")
        if results == [] and silent:
            count = f"{len(silent)} of its" if isinstance(silent, list) else "its"
            raise SearchError(
                f"{self.name} found nothing because {count} engines did not answer; see the instance's log"
            )
        return pages_of(self.name, results, limit, _fields)


def checked_instance(url: str | None) -> str:
    """`url` without a slash at its end. Raises `ConfigurationError` if it is no plain http(s) address; none is shown."""
    if not url or not url.strip():
        raise ConfigurationError(
            "searxng_url: the searxng provider needs it; give the address of an instance that answers JSON"
        )
    address = service_address(url)
    if not address:
        raise ConfigurationError(
            "searxng_url: is no plain http or https address; give it like https://searx.example.org, without user name, "
            "password, query or fragment"
        )
    return address


def _fields(result: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "title": result.get("title"),
        "url": result.get("url"),
        "snippet": result.get("content"),
        "score": result.get("score"),
        "time": result.get("publishedDate"),
    }
