"""Many users in one call: as they come, bounded, and what an error of one does to the others."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import webrec
from webrec.errors import SpendingCapError

HISTORY = ["Red boots", "Warm gloves"]


async def test_many_users_at_a_time(settings: dict[str, Any], graph: Any) -> None:
    titles = [[f"Item {n}", "Wool scarf"] for n in range(9)]
    asked: list[int] = []
    heard: set[int] = set()

    def requests() -> Any:
        for n, pair in enumerate(titles):
            asked.append(n)
            yield HISTORY, pair

    found = {}
    many = webrec.arecommend_many(
        requests(), concurrency=3, graph=graph, on_progress=lambda place, _: heard.add(place), **settings
    )
    async for place, result in many:
        found[place] = result
        assert len(asked) <= len(found) + 3, "requests are read faster than results are taken"
    assert heard == set(found) == set(range(9))
    for place, result in found.items():
        alone = await webrec.arecommend(HISTORY, titles[place], graph=graph, dtype="float32", **settings)
        assert {r.title for r in alone.ranking} == {r.title for r in result.ranking}


async def test_what_is_ready_is_handed_out_before_an_error_ends_all(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All end in the same moment here, as they do where the loop was held up."""

    async def at_once(history: Any, candidates: Any, **_: Any) -> Any:
        if not candidates:
            raise webrec.InputError("candidates: it is empty")
        return candidates

    monkeypatch.setattr("webrec.api.arecommend", at_once)
    requests = [(HISTORY, ["a"]), (HISTORY, []), *[(HISTORY, ["c"])] * 3]
    for concurrency in (2, 5):
        done: list[int] = []
        with pytest.raises(webrec.InputError, match="candidates"):  # noqa: PT012 (a loop is what is tested)
            async for place, _ in webrec.arecommend_many(requests, concurrency=concurrency, **settings):
                done.append(place)
        assert sorted(done) == [0, 2, 3, 4][: concurrency - 1]
    heard: list[tuple[int, str]] = []
    many = webrec.arecommend_many(requests, on_failure=lambda n, e: heard.append((n, str(e))), **settings)
    assert sorted([place async for place, _ in many]) == [0, 2, 3, 4]
    assert heard == [(1, "candidates: it is empty")]


@pytest.mark.parametrize(
    "error", [webrec.ConfigurationError("pages: x"), SpendingCapError("capped"), webrec.BackboneError("b")]
)
async def test_what_concerns_all_is_no_failure_of_one(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def failing(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr("webrec.api.arecommend", failing)
    with pytest.raises(type(error)):
        async for _ in webrec.arecommend_many([(HISTORY, ["a"])], on_failure=lambda *_: None, **settings):
            pass


async def test_the_first_error_ends_all(settings: dict[str, Any], graph: Any) -> None:
    requests = [(HISTORY, ["a", "b"]), (HISTORY, []), *[(HISTORY, ["c", "d"])] * 5]
    done = []

    async def work() -> None:
        async for place, _ in webrec.arecommend_many(requests, concurrency=2, graph=graph, **settings):
            done.append(place)

    with pytest.raises(webrec.InputError, match="candidates"):
        await work()
    assert len(done) < 3
    assert len([t for t in asyncio.all_tasks() if not t.done()]) == 1, "something goes on"
