"""Brave search, by its documented HTTP API.

The wrapper in `langchain-community` (archived) takes no timeout, so the API is called directly.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from webrec.tools.page import Page
from webrec.tools.providers.http_json import request_json

API_URL = "https://api.search.brave.com/res/v1"
KEY_VARIABLE = "BRAVE_API_KEY"
_TAG = re.compile(r"</?(?:strong|b|em|i|span)\b[^>]*>", re.IGNORECASE)


@dataclass(frozen=True)
class Brave:
    """Brave `/web/search`. `base_url` is for proxies and tests and is set in code only: the key is sent there."""

    key: SecretStr = field(repr=False)
    base_url: str = API_URL
    name: str = "brave"
    query_limit: int | None = 400

    async def search(self, query: str, limit: int) -> list[Page]:
        """At most `limit` pages (the service gives 20 at most), best first. Raises `SearchError`."""
        answer = await request_json(
            self.name,
            "GET",
            f"{self.base_url}/web/search",
            headers={"X-Subscription-Token": self.key.get_secret_value(), "Accept": "application/json"},
            params={"q": " ".join(query.split()[:50]), "count": min(limit, 20), "extra_snippets": "true"},
        )
        web = answer.get("web")  # absent where nothing was found
        results = web.get("results") if isinstance(web, dict) else None
        return [_page(r) for r in results or [] if isinstance(r, dict)][:limit]


def _page(result: dict[str, Any]) -> Page:
    extra = result.get("extra_snippets")
    parts = [result.get("description"), *(extra if isinstance(extra, list) else [])]
    # Page's validators take anything: what is not text becomes the empty string.
    return Page.model_validate(
        {
            "title": _plain(result.get("title")),
            "url": result.get("url"),
            "snippet": _plain(" ".join(p for p in parts if isinstance(p, str))),
            "provider": "brave",
            "time": result.get("page_age"),
        }
    )


def _plain(markup: Any) -> str:
    """Brave marks hits with HTML tags and escapes the rest."""
    return html.unescape(_TAG.sub("", markup)) if isinstance(markup, str) else ""
