"""Tavily search, by its documented HTTP API.

`langchain-tavily` takes no timeout and brings the whole agent framework, so the API is called directly.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from webrec.errors import SearchError
from webrec.tools.page import Page
from webrec.tools.providers.http_json import request_json

API_URL = "https://api.tavily.com"
KEY_VARIABLE = "TAVILY_API_KEY"


@dataclass(frozen=True)
class Tavily:
    """Tavily `/search`. `base_url` is for proxies and tests and is set in code only: the key is sent there."""

    key: SecretStr = field(repr=False)
    base_url: str = API_URL
    name: str = "tavily"
    query_limit: int | None = 400

    async def search(self, query: str, limit: int) -> list[Page]:
        """At most `limit` pages (the service gives 20 at most), best first. Raises `SearchError`."""
        answer = await request_json(
            self.name,
            "POST",
            f"{self.base_url}/search",
            headers={"Authorization": f"Bearer {self.key.get_secret_value()}"},
            json={"query": query, "max_results": min(limit, 20), "search_depth": "basic"},
        )
        results = answer.get("results")
        if not isinstance(results, list):
            raise SearchError("tavily answered without a list of results")
        return [_page(r) for r in results if isinstance(r, dict)][:limit]


def _page(result: dict[str, Any]) -> Page:
    score = result.get("score")
    # Page's validators take anything: what is not text becomes the empty string.
    return Page.model_validate(
        {
            "title": result.get("title"),
            "url": result.get("url"),
            "snippet": result.get("content"),
            "score": score if isinstance(score, int | float) else None,
            "provider": "tavily",
            "time": result.get("published_date"),
        }
    )
