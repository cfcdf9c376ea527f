"""Ray workers of one machine share the store: the cap holds over them, and equal queries are asked once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from webrec.tools.searching.store import SearchStore

from .servers import SearchServer

WORKER = str(Path(__file__).with_name("worker.py"))
ray = pytest.importorskip("ray")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # every socket on loopback
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def ask_in_worker(
    path: str, store: str, port: int, queries: list[str], settings: dict[str, Any]
) -> tuple[int, list[Any]]:
    """In a worker: its process id, and for each query the calls sent or the error's name."""
    import asyncio
    import runpy

    from webrec.tools.searching.store import SearchStore

    worker = runpy.run_path(path)
    asked = worker["ask_all"](worker["Loopback"](port), queries, worker["Settings"](**settings), SearchStore(store))
    answers = asyncio.run(asked)
    return os.getpid(), [type(a).__name__ if isinstance(a, BaseException) else a.attempts for a in answers]


@pytest.mark.slow
def test_cap_and_record_hold_over_ray_workers(cluster: None, store: SearchStore) -> None:
    remote = ray.remote(num_cpus=1)(ask_in_worker)
    settings = {"max_search_calls": 50}
    shared = [f"shared {n}" for n in range(20)]
    with SearchServer(latency=0.01) as server:
        jobs = [
            remote.remote(WORKER, str(store.path), server.port, [*shared, *(f"{w} {n}" for n in range(20))], settings)
            for w in range(4)
        ]
        results = ray.get(jobs, timeout=120)
        assert len({process for process, _ in results}) == 4
        assert len(server.asked) == 50, "the cap"
        assert max(server.answered.values()) == 1, "nothing is asked twice"
        refused = [a for _, answers in results for a in answers if a == "SpendingCapError"]
        unanswered = 4 * 20 + 20 - 50
        assert len(refused) >= unanswered
        assert {a for _, answers in results for a in answers if isinstance(a, str)} == {"SpendingCapError"}
