"""Tavily search, by its documented HTTP API.

`langchain-tavily` takes no timeout and brings the whole agent framework, so the API is called directly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from webrec.tools.page import Page
from webrec.tools.providers.answers import pages_of
from webrec.tools.providers.http_json import request_json

API_URL = "https://api.tavily.com"
KEY_VARIABLE = "TAVILY_API_KEY"
_MEANINGS = {
    432: "refused: the plan's limit of this key is used up (HTTP 432)",
    433: "refused: the pay-as-you-go limit of this key is used up (HTTP 433)",
}


@dataclass(frozen=True)
class Tavily:
    """Tavily `/search`. `base_url` is for proxies and tests and is set in code only: the key is sent there."""

    key: SecretStr = field(repr=False)
    base_url: str = API_URL
    name: str = "tavily"
    query_limit: int | None = 400

    @property
    def cost_units(self) -> float:
        """Credits: a basic search costs one."""
        return 1.0

    @property
    def options(self) -> Mapping[str, str | int | float | bool]:
        """What is asked for beside query and number."""
        return {"search_depth": "basic"}

    async def search(self, query: str, limit: int) -> list[Page]:
        """At most `limit` pages (the service gives 20 at most), best first. Raises `SearchError`."""
        answer = await request_json(
            self.name,
            "POST",
            f"{self.base_url}/search",
            meanings=_MEANINGS,
            headers={"Authorization": f"Bearer {self.key.get_secret_value()}"},
            json={"query": query, "max_results": min(limit, 20), **self.options},
        )
        return pages_of(self.name, answer.get("results"), limit, _fields)


def _fields(result: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "title": result.get("title"),
        "url": result.get("url"),
        "snippet": result.get("content"),
        "score": result.get("score"),
        "time": result.get("published_date"),
    }
