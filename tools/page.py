"""A page as search returns it, and the protocol of whatever returns pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Protocol, runtime_checkable

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from webrec.tools.text_safety import clean, safe_url

TITLE_CHARACTERS = 300
SNIPPET_CHARACTERS = 2_000


def _text(limit: int) -> BeforeValidator:
    def to_clean(value: Any) -> str:
        return clean(value, limit) if isinstance(value, str) else ""

    return BeforeValidator(to_clean)


def _authors(value: Any) -> Any:
    """Texts, cleaned, at most 20; a single one as it is; anything else is none."""
    listed = [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else []
    return tuple(cleaned for author in listed[:20] if isinstance(author, str) and (cleaned := clean(author, 100)))


class Page(BaseModel):
    """One search result. Foreign text is cleaned and cut when the record is made, so it is never stored raw."""

    model_config = ConfigDict(frozen=True)

    title: Annotated[str, _text(TITLE_CHARACTERS)] = Field(
        default="", description="Title, cleaned, at most 300 characters."
    )
    url: Annotated[str, BeforeValidator(lambda v: safe_url(v) if isinstance(v, str) else "")] = Field(
        default="", description="Address; empty if it was not plain http or https."
    )
    snippet: Annotated[str, _text(SNIPPET_CHARACTERS)] = Field(
        default="", description="What the provider returned of the page, cleaned, at most 2,000 characters."
    )
    score: float | None = Field(default=None, description="The provider's own score, if it gives one.")
    provider: str = Field(description="Name of the provider that returned the page.")
    time: Annotated[str, _text(40)] = Field(
        default="", description="When the page was published, as the provider says; may be empty."
    )
    authors: Annotated[tuple[str, ...], BeforeValidator(_authors)] = Field(
        default=(), description="Ids or names of those who wrote the page, as the provider says; may be empty."
    )


@runtime_checkable
class SearchProvider(Protocol):
    """Query in, ranked pages out."""

    @property
    def name(self) -> str:
        """The provider's name, as pages and outcomes give it."""

    @property
    def query_limit(self) -> int | None:
        """Most characters of a query that the provider accepts, None for any; longer ones are cut at a word before."""

    async def search(self, query: str, limit: int) -> list[Page]:
        """At most `limit` pages, best first; an empty list if nothing was found.

        One call, without retries; whoever calls sets the deadline. Raises `SearchError`, with one sentence that holds
        neither key nor query, if the provider could not answer.
        """
        ...


@runtime_checkable
class MeteredProvider(SearchProvider, Protocol):
    """A provider whose calls leave the machine: recorded, limited and counted (`webrec.tools.searching`).

    One without these two members is asked as it is, every time, except in replay, where it is refused unless `offline`.
    """

    @property
    def cost_units(self) -> float:
        """What one call costs in the provider's own units (credits, queries); 0 if calls are free."""

    @property
    def options(self) -> Mapping[str, str | int | float | bool]:
        """Whatever else decides the answer beside query and limit: part of the key of a recorded answer. No secrets."""
