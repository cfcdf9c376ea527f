"""Asking: from the record, else once for all, within the limits; what is settled when it goes wrong."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from webrec.errors import ConfigurationError, NotRecordedError, SearchError, SpendingCapError
from webrec.tools.page import Page
from webrec.tools.searching import claims, ledger, records
from webrec.tools.searching.claims import Claim
from webrec.tools.searching.searcher import ask
from webrec.tools.searching.store import SearchStore

from .servers import SearchServer
from .worker import Loopback, Settings, ask_all


def used(store: SearchStore) -> ledger.Usage:
    rows = store.run_now(lambda c: ledger.usage(c, time.time()))
    return next(row for row in rows if row.period == "forever")


def states(store: SearchStore) -> Counter[str]:
    return Counter(s for (s,) in store.run_now(lambda c: c.execute("SELECT state FROM calls").fetchall()))


def open_claims(store: SearchStore) -> int:
    (count,) = store.run_now(lambda c: c.execute("SELECT count(*) FROM claims WHERE failure IS NULL").fetchone())
    return int(count)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what it waits for happens in other threads
            await asyncio.sleep(0.01)


async def test_asked_once_then_recorded(store: SearchStore) -> None:
    with SearchServer() as server:
        provider = Loopback(server.port, cost_units=2.0)
        first = await ask(provider, "wool scarf", 2, Settings(), store)
        again = await ask(provider, " Wool  SCARF", 2, Settings(), store)
    assert [p.title for p in first.pages] == ["wool scarf 0", "wool scarf 1"]
    assert (first.attempts, first.cost_units, first.possibly_billed, first.from_record) == (1, 2.0, 0, False)
    assert again.pages == first.pages
    assert (again.attempts, again.cost_units, again.waited, again.from_record) == (0, 0.0, 0.0, True)
    assert again.recorded == first.recorded
    assert first.recorded is not None
    assert first.recorded.endswith("+00:00")
    assert len(server.asked) == 1
    assert open_claims(store) == 0


async def test_an_empty_answer_is_an_answer(store: SearchStore) -> None:
    with SearchServer(lambda query, before: "empty") as server:
        for _ in range(2):
            assert (await ask(Loopback(server.port), "q", 5, Settings(), store)).pages == ()
    assert len(server.asked) == 1


async def test_old_answers_are_asked_for_again(store: SearchStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with SearchServer() as server:
        provider = Loopback(server.port)
        await ask(provider, "q", 5, Settings(), store)
        now = time.time()
        monkeypatch.setattr("webrec.tools.searching.searcher.time.time", lambda: now + 2 * 86_400)
        assert (await ask(provider, "q", 5, Settings(), store)).from_record
        assert (await ask(provider, "q", 5, Settings(search_max_age_days=None), store)).from_record
        assert not (await ask(provider, "q", 5, Settings(search_max_age_days=1), store)).from_record
    assert len(server.asked) == 2


async def test_equal_queries_join_though_no_record_counts(store: SearchStore) -> None:
    with SearchServer(latency=0.05) as server:
        answers = await ask_all(Loopback(server.port), ["q"] * 20, Settings(search_max_age_days=0), store)
        assert sum(a.attempts for a in answers if not isinstance(a, BaseException)) == 1
        assert len(server.asked) == 1
        await ask_all(Loopback(server.port), ["q"] * 20, Settings(search_max_age_days=0), store)
        assert len(server.asked) == 2


def test_event_loops_of_several_threads_join(store: SearchStore) -> None:
    answers: list[Any] = []
    start = threading.Barrier(4)
    with SearchServer(latency=0.05) as server:

        def run() -> None:
            start.wait()
            answers.extend(
                asyncio.run(ask_all(Loopback(server.port), [f"q {i}" for i in range(10)], Settings(), store))
            )

        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(answers) == 40
    assert all(len(a.pages) == 3 for a in answers)
    assert len(server.asked) == 10
    assert sum(a.attempts for a in answers) == 10


async def test_two_stores_on_one_file_join_through_claims(store: SearchStore) -> None:
    other = SearchStore(store.path)
    with SearchServer(latency=0.2) as server:
        provider = Loopback(server.port)
        one, two = await asyncio.gather(*(ask(provider, "q", 5, Settings(), s) for s in (store, other)))
    assert len(server.asked) == 1
    assert one.pages == two.pages
    assert sorted([one.from_record, two.from_record]) == [False, True]
    assert max(one.waited, two.waited) > 0.05
    other.close()


@pytest.mark.parametrize("plan", ["401", "503"])
async def test_those_who_wait_share_the_failure(store: SearchStore, plan: str) -> None:
    other = SearchStore(store.path)
    with SearchServer(lambda query, before: plan, latency=0.1) as server:
        provider = Loopback(server.port)
        asked = [ask(provider, "q", 5, Settings(search_attempts=2), s) for s in (store, store, store, other, other)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert all(type(a) is SearchError and str(a).startswith(f"loopback answered {plan}") for a in answers)
        assert all(a.retry == (plan == "503") for a in answers if isinstance(a, SearchError))
        assert len({id(a) for a in answers}) == 5
        calls = 1 if plan == "401" else 2
        assert len(server.asked) == calls
        with pytest.raises(SearchError):  # whoever comes later asks anew
            await ask(provider, "q", 5, Settings(search_attempts=1), other)
        assert len(server.asked) == calls + 1
    assert (used(store).failed, used(store).cost_units) == (calls + 1, 0.0)
    other.close()


async def test_another_asker_s_cap_is_not_shared(store: SearchStore) -> None:
    with SearchServer(latency=0.05) as server:
        provider = Loopback(server.port)
        capped, free = Settings(max_search_calls=0), Settings()
        answers = await asyncio.gather(
            *(ask(provider, "q", 5, s, store) for s in (capped, capped, free, capped)), return_exceptions=True
        )
        assert [type(a).__name__ for a in answers[:3]] == ["SpendingCapError", "SpendingCapError", "SearchAnswer"]
        assert (await ask(provider, "q", 5, capped, store)).from_record
    assert len(server.asked) == 1


async def test_retries_are_counted_and_lost_calls_are_possibly_billed(store: SearchStore) -> None:
    with SearchServer(lambda query, before: ["reset", "503", "ok"][before]) as server:
        answer = await ask(Loopback(server.port, cost_units=2.0), "q", 5, Settings(), store)
    assert (answer.attempts, answer.cost_units, answer.possibly_billed) == (3, 2.0, 1)
    usage = used(store)
    assert (usage.calls, usage.answered, usage.failed, usage.lost, usage.cost_units) == (3, 1, 1, 1, 4.0)


async def test_a_call_without_an_answer_in_time_is_lost(store: SearchStore) -> None:
    with SearchServer(lambda query, before: "hang") as server:
        settings = Settings(attempt_seconds=0.05, search_attempts=2, search_seconds=5)
        with pytest.raises(SearchError) as caught:
            await ask(Loopback(server.port), "q", 5, settings, store)
    assert caught.value.lost
    assert states(store) == {"lost": 2}
    assert open_claims(store) == 0


async def test_a_service_that_asks_to_wait_is_left_alone_by_all(store: SearchStore) -> None:
    with SearchServer(lambda query, before: "429:0.5" if query == "a" and not before else "ok") as server:
        provider = Loopback(server.port)
        first = asyncio.create_task(ask(provider, "a", 5, Settings(), store))
        await until(lambda: states(store)["failed"] == 1)
        second = await ask(provider, "b", 5, Settings(), store)
        assert (await first).attempts == 2
    refused = server.asked[0].time
    assert all(a.time - refused >= 0.45 for a in server.asked[1:])
    assert second.waited > 0.2


async def test_an_absurd_wish_to_wait_is_bounded(store: SearchStore) -> None:
    with SearchServer(lambda query, before: "429:1000000" if query == "a" else "ok") as server:
        provider, settings = Loopback(server.port), Settings(search_seconds=0.2, search_attempts=1)
        with pytest.raises(SearchError):
            await ask(provider, "a", 5, settings, store)
        assert (await asyncio.wait_for(ask(provider, "b", 5, settings, store), 10)).attempts == 1


async def test_the_rate_holds(store: SearchStore) -> None:
    with SearchServer() as server:
        settings = Settings(search_rate={"loopback": 50}, search_concurrency=20)
        answers = await ask_all(Loopback(server.port), [f"q {i}" for i in range(20)], settings, store)
    assert all(not isinstance(a, BaseException) and a.attempts == 1 for a in answers)
    times = [a.time for a in server.asked]
    assert times[-1] - times[0] >= 19 / 50 - 0.05


async def test_concurrency_is_bounded_and_waiting_for_a_place_is_not_a_timeout(store: SearchStore) -> None:
    with SearchServer(latency=0.02) as server:
        settings = Settings(search_concurrency=3, attempt_seconds=5, search_seconds=5)
        answers = await ask_all(Loopback(server.port), [f"q {i}" for i in range(15)], settings, store)
    assert all(not isinstance(a, BaseException) for a in answers)
    assert server.most_at_once == 3


async def test_caps_are_checked_before_anything_is_sent(store: SearchStore) -> None:
    with SearchServer() as server:
        provider = Loopback(server.port, cost_units=2.0)
        answers = await ask_all(provider, [f"q {i}" for i in range(10)], Settings(max_search_calls=4), store)
        assert [isinstance(a, SpendingCapError) for a in answers].count(True) == 6
        assert len(server.asked) == 4
        settings = Settings(max_search_spend=1.0, search_price={"loopback": 0.1})
        with pytest.raises(ConfigurationError, match="search_price"):
            await ask(provider, "q 0", 5, Settings(max_search_spend=1.0), store)
        answers = await ask_all(provider, [f"r {i}" for i in range(10)], settings, store)
        assert [isinstance(a, SpendingCapError) for a in answers].count(True) == 5  # five calls of 2 × 0.1
        assert len(server.asked) == 9
    assert open_claims(store) == 0


async def test_a_retry_is_a_call_and_may_meet_the_cap(store: SearchStore) -> None:
    with SearchServer(lambda query, before: "503") as server, pytest.raises(SpendingCapError):
        await ask(Loopback(server.port), "q", 5, Settings(max_search_calls=1), store)
    assert len(server.asked) == 1
    assert open_claims(store) == 0


@pytest.mark.parametrize("sent", [True, False])
async def test_a_cancelled_asker_settles_its_call_and_another_takes_over(store: SearchStore, sent: bool) -> None:
    with SearchServer(lambda query, before: "ok" if before or not sent else "hang") as server:
        provider = Loopback(server.port)
        slow = Settings(search_rate={} if sent else {"loopback": 2})
        if not sent:
            await ask(provider, "before", 5, slow, store)
        first = asyncio.create_task(ask(provider, "q", 5, slow, store))
        await until(lambda: len(server.asked) > 0 and open_claims(store) > 0)
        second = asyncio.create_task(ask(provider, "q", 5, Settings(), store))
        await asyncio.sleep(0.05)
        first.cancel()
        assert len((await second).pages) == 3
    assert states(store) == {"answered": 1, "lost": 1} if sent else {"answered": 2}
    assert open_claims(store) == 0


async def test_a_provider_that_breaks_settles_its_call(store: SearchStore) -> None:
    class Broken(Loopback):
        async def search(self, query: str, limit: int) -> list[Page]:
            raise ZeroDivisionError("a secret")

    with pytest.raises(SearchError, match=r"^loopback failed \(ZeroDivisionError\)$"):
        await ask(Broken(0), "q", 5, Settings(), store)
    assert states(store) == {"lost": 1}
    assert open_claims(store) == 0
    with SearchServer() as server:
        assert (await ask(Loopback(server.port), "q", 5, Settings(), store)).attempts == 1


async def test_a_store_that_fills_up_fails_the_asker_but_says_why(store: SearchStore) -> None:
    await store.find("page", "k")
    with SearchServer(latency=0.1) as server:
        asking = asyncio.create_task(ask(Loopback(server.port), "q " * 500, 5, Settings(), store))
        await until(lambda: len(server.asked) > 0)
        store.run_now(lambda c: c.execute("PRAGMA query_only=ON"))
        with pytest.raises((SearchError, ConfigurationError), match=r"^search_store: .*read-only"):
            await asking
    store.run_now(lambda c: c.execute("PRAGMA query_only=OFF"))
    other = SearchStore(store.path)  # to others this process's asker is dead, and its call lost
    with SearchServer() as server:
        assert (await ask(Loopback(server.port), "q " * 500, 5, Settings(), other)).attempts == 1
    assert states(store) == {"lost": 1, "answered": 1}
    other.close()


async def test_pages_are_the_same_fresh_and_recorded(store: SearchStore) -> None:
    class Odd(Loopback):
        async def search(self, query: str, limit: int) -> list[Page]:
            return [Page(title="a\ud800b", snippet="x" * 9_000, score=float("nan"), provider="odd") for _ in range(99)]

    fresh = await ask(Odd(0), "q", 5, Settings(), store)
    again = await ask(Odd(0), "q", 5, Settings(search_replay=True), store)
    assert fresh.pages == again.pages
    assert len(fresh.pages) == 5
    assert fresh.pages[0].score is None


# Replay


async def test_a_record_with_too_many_pages_is_cut(store: SearchStore) -> None:
    """As a file from elsewhere may hold one."""
    pages = [Page(title=str(i), provider="loopback").model_dump() for i in range(9)]
    await store.put("search", records.search_key("loopback", "q", 2, {}), pages, "loopback")
    assert len((await ask(Loopback(0), "q", 2, Settings(search_replay=True), store)).pages) == 2


async def test_replay_sends_nothing(store: SearchStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with SearchServer() as server:
        live = await ask_all(Loopback(server.port), [f"q {i}" for i in range(5)], Settings(), store)
        port = server.port
    monkeypatch.setattr("webrec.tools.searching.store.time.time", lambda: 4e9)  # records never expire in a replay
    replay = await ask_all(Loopback(port), [f"q {i}" for i in range(5)], Settings(search_replay=True), store)
    assert [a.pages for a in replay if not isinstance(a, BaseException)] == [
        a.pages for a in live if not isinstance(a, BaseException)
    ]
    assert used(store).calls == 5
    with pytest.raises(NotRecordedError, match="search_replay"):
        await ask(Loopback(port), "never asked", 5, Settings(search_replay=True), store)
    with pytest.raises(NotRecordedError):
        await ask(Loopback(port), "q 0", 6, Settings(search_replay=True), store)
    assert used(store).calls == 5


class Plain:
    """A provider of someone's own, without cost and options."""

    name = "plain"
    query_limit = None
    offline = False

    def __init__(self) -> None:
        self.calls = 0

    async def search(self, query: str, limit: int) -> list[Page]:
        self.calls += 1
        if self.calls == 1:
            raise SearchError("plain stumbled", retry=True)
        return [Page(title=query, provider="plain")] * 9


async def test_a_provider_that_is_not_metered_is_asked_every_time(store: SearchStore) -> None:
    provider = Plain()
    answer = await ask(provider, "q", 5, Settings(), store)
    assert (len(answer.pages), answer.attempts, answer.recorded, answer.from_record) == (5, 2, None, False)
    assert (await ask(provider, "q", 5, Settings(), store)).attempts == 1
    assert not store.path.exists()


async def test_in_replay_it_must_be_offline(store: SearchStore) -> None:
    provider = Plain()
    with pytest.raises(ConfigurationError, match="search_replay: answers of plain are not recorded"):
        await ask(provider, "q", 5, Settings(search_replay=True), store)
    assert provider.calls == 0
    provider.offline, provider.calls = True, 1
    assert (await ask(provider, "q", 5, Settings(search_replay=True), store)).attempts == 1


# Claims of processes that are gone


async def test_the_claim_of_a_dead_process_is_taken_over_once(store: SearchStore) -> None:
    key = records.search_key("loopback", "q", 5, {})
    made = ledger.Call("call", "loopback", key, "dead", 1.0)

    def die(connection: Any) -> None:
        claims.take(connection, key, Claim("token", "dead"), time.time())
        ledger.book(connection, made, ledger.Limits(0, None, None, 0, "day"), time.time())

    await store.run(die, write=True)
    others = [SearchStore(store.path) for _ in range(3)]
    with SearchServer(latency=0.05) as server:
        answers = await asyncio.gather(*(ask(Loopback(server.port), "q", 5, Settings(), s) for s in [store, *others]))
    assert len(server.asked) == 1
    assert sum(a.attempts for a in answers) == 1
    assert states(store) == {"lost": 1, "answered": 1}
    for other in others:
        other.close()


@pytest.mark.parametrize("late", [0.1, 1e9])
async def test_calls_that_were_held_up_take_new_slots(
    store: SearchStore, monkeypatch: pytest.MonkeyPatch, late: float
) -> None:
    """Three calls at 2 a second; those that wait for their slot wake up 0.7 s after it, once each."""
    monkeypatch.setattr("webrec.tools.searching.attempts.LATE", late)
    slots: list[float] = []
    held_up: set[object] = set()
    reserve, sleep = ledger.reserve, asyncio.sleep

    def counted(*arguments: Any) -> float:
        slots.append(reserve(*arguments))
        return slots[-1]

    async def oversleep(seconds: float) -> None:
        task = asyncio.current_task()
        await sleep(seconds + (0.7 if task not in held_up else 0))
        held_up.add(task)

    monkeypatch.setattr(ledger, "reserve", counted)
    monkeypatch.setattr(asyncio, "sleep", oversleep)
    settings = Settings(search_rate={"loopback": 2}, search_concurrency=3)
    with SearchServer() as server:
        answers = await ask_all(Loopback(server.port), [f"q {n}" for n in range(3)], settings, store)
    assert [len(a.pages) for a in answers if not isinstance(a, BaseException)] == [3, 3, 3]
    assert len(server.asked) == 3
    assert (len(slots) > 3) == (late < 1)
