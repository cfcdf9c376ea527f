"""Many users in one call: as they come, bounded, and what an error of one does to the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
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


@pytest.fixture
def echoed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of a recommendation, what was asked; the wrong title is refused."""

    async def echo(history: Any, candidates: Any, **_: Any) -> Any:
        await asyncio.sleep(0)
        if not isinstance(history, list):
            raise webrec.InputError("history: it is not a list; give a list of titles")
        return history, candidates

    monkeypatch.setattr("webrec.api.arecommend", echo)


FORMS: list[Any] = [
    (HISTORY, ["a"]),
    [HISTORY, ("a",)],
    webrec.RecommendInput(history=HISTORY, candidates=["a"]),
    {"history": tuple(HISTORY), "candidates": {"a": 1}.keys(), "id": "u3"},
]


async def test_requests_of_every_form_from_every_iterable(echoed: None) -> None:
    async def later() -> AsyncIterator[Any]:
        for form in FORMS:
            await asyncio.sleep(0.01)
            yield form

    for requests in (iter(FORMS), later()):
        found = {place: result async for place, result in webrec.arecommend_many(requests, concurrency=2)}
        assert found == dict.fromkeys(range(4), (HISTORY, ["a"]))


async def test_an_async_source_is_waited_for_beside_the_work_and_read_no_faster(echoed: None) -> None:
    """The next user may depend on the last one's result."""
    results: asyncio.Queue[int] = asyncio.Queue()
    asked: list[int] = []

    async def one_after_the_other() -> AsyncIterator[Any]:
        for number in range(4):
            if number:
                assert await asyncio.wait_for(results.get(), 10) == number - 1
            asked.append(number)
            yield HISTORY, [str(number)]

    async for place, _ in webrec.arecommend_many(one_after_the_other(), concurrency=3):
        assert asked[-1] == place
        results.put_nowait(place)
    assert asked == [0, 1, 2, 3]
    assert [task for task in asyncio.all_tasks() if not task.done()] == [asyncio.current_task()]


async def test_who_stops_taking_results_leaves_nothing_running(echoed: None) -> None:
    async def endless() -> AsyncIterator[Any]:
        yield HISTORY, ["a"]
        await asyncio.sleep(1000)

    many = webrec.arecommend_many(endless())
    assert (await anext(many))[0] == 0
    await many.aclose()
    assert [task for task in asyncio.all_tasks() if not task.done()] == [asyncio.current_task()]


async def test_a_source_that_fails_ends_all(echoed: None) -> None:
    async def failing() -> AsyncIterator[Any]:
        yield HISTORY, ["a"]
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        async for _ in webrec.arecommend_many(failing()):
            pass


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (
            (HISTORY, ["a"], "u1"),
            r"it is tuple of 3; give \(history, candidates\), a RecommendInput, or a mapping with both",
        ),
        ("Red boots", "it is str; give"),
        (None, "it is NoneType; give"),
        (({"Red boots": 1}, ["a"]), "history: it is not a list"),
        ({"histroy": HISTORY, "candidates": ["a"]}, "history: it is not a list"),
    ],
)
async def test_a_wrong_request_is_named_by_its_place(echoed: None, request_: Any, says: str) -> None:
    requests = [(HISTORY, ["a"]), request_, (HISTORY, ["c"])]
    with pytest.raises(webrec.InputError, match=rf"^requests\[1\]: {says}"):
        async for _ in webrec.arecommend_many(requests):
            pass
    heard: list[tuple[int, str]] = []

    async def hear(place: int, error: Exception) -> None:
        await asyncio.sleep(0)
        heard.append((place, str(error)))

    assert sorted([place async for place, _ in webrec.arecommend_many(requests, on_failure=hear)]) == [0, 2]
    assert [place for place, _ in heard] == [1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"concurrency": "4"}, "concurrency: '4' is no number of requests; give a whole number of at least 1"),
        ({"concurrency": 0}, "concurrency: 0 is no number"),
        ({"concurrency": 2.5}, "concurrency: 2.5 is no number"),
        ({"requests": {"history": HISTORY, "candidates": ["a"]}}, "requests: it is dict; give an iterable of"),
        ({"requests": FORMS[2]}, "requests: it is RecommendInput; give an iterable of"),
        ({"requests": 3}, "requests: it is int; give an iterable of"),
        ({"no_such_setting": 3}, "no_such_setting: there is no such field"),
    ],
)
async def test_what_is_wrong_with_all_is_told_before_any_is_asked(
    echoed: None, arguments: dict[str, Any], says: str
) -> None:
    with pytest.raises(webrec.InputError, match=f"^{says}"):
        await anext(webrec.arecommend_many(**{"requests": [(HISTORY, ["a"])], **arguments}))
