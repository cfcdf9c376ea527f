"""Many processes on one store: nothing is asked twice, the limits hold, and a kill at any moment loses nothing recorded."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from webrec.errors import NotRecordedError
from webrec.tools.searching import ledger, records
from webrec.tools.searching.searcher import SearchAnswer
from webrec.tools.searching.store import SearchStore

from .servers import SearchServer
from .worker import Loopback, Settings, ask_all

WORKER = Path(__file__).with_name("worker.py")
FAULTS = ("503", "429:0.01", "429", "reset", "500", "401")


def faults(share: float, helped_by_retries: bool) -> Any:
    """A plan that fails this share of all requests, the same on every run; some faults may not pass."""
    kinds = FAULTS[:4] if helped_by_retries else FAULTS

    def plan(query: str, before: int) -> str:
        chance = random.Random(f"{query} {before}")
        return chance.choice(kinds) if chance.random() < share else "ok"

    return plan


@contextmanager
def workers(number: int, **job: Any) -> Iterator[list[subprocess.Popen[str]]]:
    """So many processes with the same job, started together; killed in the end if they still run."""
    made = [
        subprocess.Popen([sys.executable, str(WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(number)
    ]
    try:
        for process in made:
            assert process.stdin is not None
            process.stdin.write(json.dumps(job | {"wait": True}) + "\n")
            process.stdin.flush()
        for process in made:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in made:
            with suppress(BrokenPipeError):
                process.stdin.write("go\n")  # type: ignore[union-attr]
                process.stdin.flush()  # type: ignore[union-attr]
        yield made
    finally:
        for process in made:
            process.kill()
            process.communicate()


def answers(process: subprocess.Popen[str], seconds: float = 300) -> list[list[Any]]:
    """[first title, calls sent] or [error, sentence] for each query."""
    out, _ = process.communicate(timeout=seconds)
    assert process.returncode == 0
    parsed: list[list[Any]] = json.loads(out)
    return parsed


def usage(store: SearchStore) -> ledger.Usage:
    return next(u for u in store.run_now(lambda c: ledger.usage(c, time.time())) if u.period == "forever")


def check_whole(store: SearchStore) -> dict[str, Any]:
    """The records by query; each is whole, and so is the file."""
    assert store.run_now(lambda c: c.execute("PRAGMA integrity_check").fetchall()) == [("ok",)]
    found = {}
    for record in store.run_now(lambda c: list(records.all_since(c))):
        query = json.loads(record.key)[1]
        assert [p["title"] for p in record.content] == [f"{query} {i}" for i in range(3)]
        found[query] = record.content
    return found


@pytest.mark.parametrize("number", [120, pytest.param(1_000, marks=pytest.mark.slow)])
async def test_with_faults_nothing_is_lost_and_nothing_asked_twice(store: SearchStore, number: int) -> None:
    queries = [f"q {i}" for i in range(number)]
    settings = Settings(search_attempts=3, search_concurrency=16)
    with SearchServer(faults(0.3, helped_by_retries=False), latency=0.002) as server:
        provider = Loopback(server.port)
        rounds = 0
        while True:  # as a caller that resumes does
            rounds += 1
            done = await ask_all(provider, queries, settings, store)
            if all(isinstance(a, SearchAnswer) for a in done):
                break
            assert rounds < 30
        assert rounds > 1
        assert server.answered == Counter(queries)
        seen = Counter(a.outcome for a in server.asked)
        assert sum(seen.values()) - seen["ok"] > 0.2 * len(server.asked)
        count = usage(store)
        assert (count.calls, count.answered, count.lost) == (len(server.asked), number, seen["reset"])
        replayed_at = len(server.asked)
    replay = await ask_all(provider, queries, Settings(search_replay=True), store)
    assert [a.pages for a in replay if isinstance(a, SearchAnswer)] == [
        a.pages for a in done if isinstance(a, SearchAnswer)
    ]
    (missing,) = await ask_all(provider, ["never asked"], Settings(search_replay=True), store)
    assert isinstance(missing, NotRecordedError)
    assert len(server.asked) == replayed_at
    assert list(check_whole(store)) == sorted(queries)


@pytest.mark.parametrize(
    ("processes", "number", "rate"), [(2, 80, 80), pytest.param(4, 1_000, 50, marks=pytest.mark.slow)]
)
def test_processes_that_ask_the_same_make_each_call_once_at_the_stated_rate(
    store: SearchStore, processes: int, number: int, rate: int
) -> None:
    queries = [f"q {i}" for i in range(number)]
    settings = {"search_rate": {"loopback": rate}}
    with SearchServer(latency=0.005) as server:
        with workers(processes, store=str(store.path), port=server.port, queries=queries, settings=settings) as made:
            results = [answers(process) for process in made]
        for result in results:
            assert [title for title, _ in result] == [f"{query} 0" for query in queries]
        assert sum(calls for result in results for _, calls in result) == number
        assert server.answered == Counter(queries)
        assert len(server.asked) == number
    times = sorted(a.time for a in server.asked)
    assert times[-1] - times[0] >= (number - 1) / rate - 0.5
    # Slots are apart by 1/rate; how late each call leaves is the system's doing, so a window may hold a few more.
    window = 1.0
    most = max(sum(start <= t < start + window for t in times) for start in times)
    assert most <= rate * window * 1.25 + 2
    assert len(check_whole(store)) == number


@pytest.mark.parametrize("processes", [2, pytest.param(4, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "settings", [{"max_search_calls": 25}, {"max_search_spend": 2.5, "search_price": {"loopback": 0.05}}]
)
def test_caps_hold_over_processes(store: SearchStore, processes: int, settings: dict[str, Any]) -> None:
    """With faults: what is refused or lost counts as the caps say. 25 calls; or 25 billed ones, at 2 × 0.05."""
    queries = [f"q {i}" for i in range(60)]
    with SearchServer(faults(0.3, helped_by_retries=True), latency=0.003) as server:
        job = {
            "store": str(store.path),
            "port": server.port,
            "queries": queries,
            "settings": settings,
            "cost_units": 2.0,
        }
        with workers(processes, **job) as made:
            results = [answers(process) for process in made]
    assert "SpendingCapError" in {row[0] for result in results for row in result}
    seen = Counter(a.outcome for a in server.asked)
    count = usage(store)
    assert count.calls == len(server.asked)
    assert count.answered + count.failed + count.lost == count.calls
    if "max_search_calls" in settings:
        assert len(server.asked) == 25
    else:
        # A call is booked as billed until it is answered, so one that fails at the very end may leave room unused.
        assert 20 <= seen["ok"] + seen["reset"] <= 25
        assert count.spend == pytest.approx((seen["ok"] + seen["reset"]) * 0.1)
    assert max(server.answered.values()) == 1


@pytest.mark.parametrize("kills", [3, pytest.param(25, marks=pytest.mark.slow)])
def test_a_killed_process_loses_only_the_calls_under_way(store: SearchStore, kills: int) -> None:
    queries, chance = [f"q {i}" for i in range(60 * kills)], random.Random(4)
    with SearchServer(latency=0.002) as server:
        job = {"store": str(store.path), "port": server.port, "queries": queries, "settings": {"search_concurrency": 4}}
        for kill in range(kills):
            with workers(1, **job) as (process,):
                if kill % 2:  # at work; else perhaps before its first call
                    before, patience = len(server.asked), time.monotonic() + 30
                    while len(server.asked) == before and time.monotonic() < patience:
                        time.sleep(0.001)
                time.sleep(chance.uniform(0, 0.3))
                process.kill()
                process.wait()
            sent = len(server.asked)
            held = check_whole(store)
            assert sent - 4 * (kill + 1) <= len(held) <= sent
        with workers(1, **job) as (process,):
            assert [title for title, _ in answers(process)] == [f"{query} 0" for query in queries]
        assert sorted(check_whole(store)) == sorted(queries)
        count = usage(store)
        assert (count.answered, count.failed) == (len(queries), 0)
        assert 0 < count.lost <= 4 * kills
        assert count.answered + count.lost == count.calls >= len(server.asked)
        # A query was sent again only where its call was lost.
        again = {query for query, times in Counter(a.query for a in server.asked).items() if times > 1}
        rows = store.run_now(lambda c: c.execute("SELECT key FROM calls WHERE state = 'lost'").fetchall())
        assert again <= {json.loads(key)[1] for (key,) in rows}
    leftovers = list(store.path.with_name(store.path.name + ".owners").iterdir())
    store.close()
    SearchStore(store.path).run_now(lambda c: None)
    assert len(list(store.path.with_name(store.path.name + ".owners").iterdir())) == 0, leftovers


def test_those_who_wait_for_a_killed_process_take_over_once(store: SearchStore) -> None:
    with SearchServer(lambda query, before: "ok" if before else "hang") as server:
        job = {"store": str(store.path), "port": server.port, "queries": ["q"]}
        with workers(1, **job) as (first,):
            while not server.asked:
                time.sleep(0.01)
            with workers(2, **job) as made:
                time.sleep(0.2)
                assert len(server.asked) == 1
                first.kill()
                results = [answers(process) for process in made]
        assert [result[0][0] for result in results] == ["q 0", "q 0"]
        assert sorted(result[0][1] for result in results) == [0, 1]
        assert len(server.asked) == 2
    count = usage(store)
    assert (count.calls, count.answered, count.lost) == (2, 1, 1)


def test_a_stopped_process_keeps_its_claim(store: SearchStore) -> None:
    """One that sleeps is not dead: when it goes on, its answer is everyone's."""
    import signal

    with SearchServer(latency=0.3) as server:
        job = {"store": str(store.path), "port": server.port, "queries": ["q"]}
        with workers(1, **job) as (first,):
            while not server.asked:
                time.sleep(0.01)
            first.send_signal(signal.SIGSTOP)
            with workers(1, **job) as (second,):
                time.sleep(0.4)
                assert second.poll() is None
                first.send_signal(signal.SIGCONT)
                assert answers(first) == [["q 0", 1]]
                assert answers(second) == [["q 0", 0]]
    assert len(server.asked) == 1


def test_a_store_of_a_killed_process_opens_with_any_sqlite(store: SearchStore) -> None:
    with SearchServer() as server:
        with workers(1, store=str(store.path), port=server.port, queries=["a", "b"]) as (process,):
            answers(process)
        asyncio.run(store.put("page", "u", {}))
    with sqlite3.connect(store.path) as plain:
        assert plain.execute("SELECT count(*) FROM records").fetchone() == (3,)
