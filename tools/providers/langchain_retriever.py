"""Any LangChain retriever as a search provider, among them those of `langchain-community` (extra: community)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from webrec.errors import SearchError
from webrec.tools.page import Page

if TYPE_CHECKING:
    from langchain_core.retrievers import BaseRetriever


@dataclass(frozen=True)
class LangChainRetriever:
    """Wraps a retriever, e.g. `WikipediaRetriever()`; documents' `title` and `source` metadata are used."""

    retriever: BaseRetriever
    name: str = "langchain"
    query_limit: int | None = 300

    async def search(self, query: str, limit: int) -> list[Page]:
        """At most `limit` pages in the retriever's order. Raises `SearchError` if the retriever fails."""
        try:
            documents = await self.retriever.ainvoke(query)
        except Exception as error:  # a retriever may raise anything; it must become this provider's failure
            raise SearchError(f"{self.name} failed ({type(error).__name__})") from error
        return [
            Page(
                title=d.metadata.get("title", ""),
                url=d.metadata.get("source", ""),
                snippet=d.page_content,
                provider=self.name,
            )
            for d in documents[:limit]
        ]
