"""What providers of somebody's own raise and give: their failure, or one sentence on what is expected."""

from __future__ import annotations

import asyncio
from collections import UserList
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from webrec.errors import ConfigurationError, SearchError
from webrec.tools.page import Page
from webrec.tools.searching.searcher import ask
from webrec.tools.searching.store import SearchStore

from .worker import Settings

PAGE = Page(title="Scarves", provider="own")


@dataclass
class Own:
    """Gives, or raises, what it was made with."""

    outcome: Any
    name: str = "own"
    query_limit: int | None = None
    calls: int = 0

    async def search(self, query: str, limit: int) -> Any:
        self.calls += 1
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


class Metered(Own):
    cost_units = 1.0
    options: dict[str, str] = {}  # noqa: RUF012


@pytest.mark.parametrize("kind", [Own, Metered])
@pytest.mark.parametrize("error", [ValueError("key=s3cret"), KeyError("s3cret"), OSError("s3cret")])
async def test_what_it_raises_is_its_failure(store: SearchStore, kind: type[Own], error: Exception) -> None:
    provider = kind(error)
    with pytest.raises(SearchError) as caught:
        await ask(provider, "q", 5, Settings(), store)
    assert str(caught.value) == f"own failed ({type(error).__name__})"
    assert caught.value.__cause__ is error
    assert (caught.value.retry, caught.value.lost, provider.calls) == (False, True, 1)


async def test_its_own_deadline_is_a_late_answer_as_before(store: SearchStore) -> None:
    provider = Own(TimeoutError())
    with pytest.raises(SearchError, match=r"^own did not answer within .* \(2 attempts\)$"):
        await ask(provider, "q", 5, Settings(search_attempts=2), store)


@pytest.mark.parametrize("kind", [Own, Metered])
async def test_cancelling_passes(store: SearchStore, kind: type[Own]) -> None:
    with pytest.raises(asyncio.CancelledError):
        await ask(kind(asyncio.CancelledError()), "q", 5, Settings(), store)


@pytest.mark.parametrize("pages", [[PAGE], (PAGE,), UserList([PAGE])])
async def test_any_sequence_of_pages_will_do(store: SearchStore, pages: Any) -> None:
    assert (await ask(Own(pages), "q", 5, Settings(), store)).pages == (PAGE,)


@pytest.mark.parametrize("kind", [Own, Metered])
@pytest.mark.parametrize(
    ("given", "what"),
    [
        ([PAGE, {"title": "Scarves", "provider": "own"}], "a list with dict"),
        ([None], "a list with NoneType"),
        (None, "NoneType"),
        (PAGE, "Page"),
        ({"title": "Scarves"}, "dict"),
    ],
)
async def test_what_are_no_pages_is_one_sentence(store: SearchStore, kind: type[Own], given: Any, what: str) -> None:
    with pytest.raises(
        ConfigurationError, match=f"^providers: search of own gave {what}; return a list of webrec.Page$"
    ):
        await ask(kind(given), "q", 5, Settings(), store)


async def test_what_cannot_be_awaited_is_one_sentence(store: SearchStore) -> None:
    class Sync(Own):
        def search(self, query: str, limit: int) -> Any:
            return [PAGE]

    class Yielding(Own):
        async def search(self, query: str, limit: int) -> AsyncIterator[Page]:  # type: ignore[override]
            yield PAGE

    wrong: list[tuple[Any, str]] = [(Sync(None), "list"), (Yielding(None), "async_generator")]
    for provider, what in wrong:
        says = f"^providers: search of own gave {what} at once; write it as async def search"
        with pytest.raises(ConfigurationError, match=says):
            await ask(provider, "q", 5, Settings(), store)


async def test_a_function_that_gives_something_to_await_will_do(store: SearchStore) -> None:
    class Handed(Own):
        def search(self, query: str, limit: int) -> Any:
            return asyncio.ensure_future(super().search(query, limit))

    assert (await ask(Handed([PAGE]), "q", 5, Settings(), store)).pages == (PAGE,)
