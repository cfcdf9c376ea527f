"""Brave search, by its documented HTTP API.

The wrapper in `langchain-community` (archived) takes no timeout, so the API is called directly.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from webrec.errors import SearchError
from webrec.tools.page import Page
from webrec.tools.providers.answers import pages_of
from webrec.tools.providers.http_json import request_json

API_URL = "https://api.search.brave.com/res/v1"
KEY_VARIABLE = "BRAVE_API_KEY"
_TAG = re.compile(r"</?(?:strong|b|em|i|span)\b[^>]*>", re.IGNORECASE)
# Brave answers a wrong key with 422, as it does a parameter that it does not take.
_MEANINGS = {422: "refused the key or the request (HTTP 422); check the key"}


@dataclass(frozen=True)
class Brave:
    """Brave `/web/search`. `base_url` is for proxies and tests and is set in code only: the key is sent there."""

    key: SecretStr = field(repr=False)
    base_url: str = API_URL
    name: str = "brave"
    query_limit: int | None = 400

    @property
    def cost_units(self) -> float:
        """Queries."""
        return 1.0

    @property
    def options(self) -> Mapping[str, str | int | float | bool]:
        """What is asked for beside query and number."""
        return {"extra_snippets": "true"}

    async def search(self, query: str, limit: int) -> list[Page]:
        """At most `limit` pages (the service gives 20 at most), best first. Raises `SearchError`."""
        answer = await request_json(
            self.name,
            "GET",
            f"{self.base_url}/web/search",
            meanings=_MEANINGS,
            headers={"X-Subscription-Token": self.key.get_secret_value(), "Accept": "application/json"},
            params={"q": " ".join(query.split()[:50]), "count": min(limit, 20), **self.options},
        )
        web = answer.get("web")
        if web is None and answer.get("type") == "search":  # how it says that nothing was found
            return []
        if not isinstance(web, dict):
            raise SearchError(f"{self.name} answered JSON of an unknown shape", lost=True)
        return pages_of(self.name, web.get("results"), limit, _fields)


def _fields(result: Mapping[str, Any]) -> Mapping[str, Any]:
    extra = result.get("extra_snippets")
    parts = [result.get("description"), *(extra if isinstance(extra, list) else [])]
    return {
        "title": _plain(result.get("title")),
        "url": result.get("url"),
        "snippet": _plain(" ".join(p for p in parts if isinstance(p, str))),
        "time": result.get("page_age"),
    }


def _plain(markup: Any) -> str:
    """Brave marks hits with HTML tags and escapes the rest."""
    return html.unescape(_TAG.sub("", markup)) if isinstance(markup, str) else ""
