"""Threads with a bounded queue: new runs are turned away, places are given back, nothing that has begun is refused."""

from __future__ import annotations

import asyncio
import copy
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from webrec import BusyError, arecommend, arecommend_many
from webrec.nodes import run as run_module
from webrec.nodes.node_threads import NodeThreads

REQUEST = (["Red boots", "Warm gloves"], ["Wool scarf", "Garden hose"])


async def test_a_full_queue_turns_away_and_lets_in_again() -> None:
    threads, go = NodeThreads(threads=2, most_waiting=3), threading.Event()
    jobs = []
    for _ in range(5):
        threads.admit()
        jobs.append(asyncio.create_task(threads.call(go.wait)))
        await asyncio.sleep(0)
    assert threads.waiting == 3
    with pytest.raises(BusyError, match=r"^busy: 3 runs .* retry after \d+ s$") as caught:
        threads.admit()
    assert caught.value.retry_after >= 1
    late = asyncio.create_task(threads.call(lambda: "begun already"))  # what was let in goes on
    go.set()
    assert await asyncio.gather(*jobs) == [True] * 5
    assert await late == "begun already"
    threads.admit()
    assert threads.waiting == 0


def test_a_forked_child_computes_in_threads_of_its_own() -> None:
    code = """
import asyncio, os, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of fork beside threads, which is what is tried
from webrec.nodes.node_threads import node_threads
assert asyncio.run(node_threads.call(lambda: 1)) == 1
child = os.fork()
if child == 0:
    os._exit(asyncio.run(node_threads.call(lambda: 7)))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.strip(), done.returncode) == ("7", 0), done.stderr


def test_busy_can_be_sent_to_another_process() -> None:
    error = pickle.loads(pickle.dumps(BusyError(3, 7.4)))
    assert (str(error), error.retry_after, error.waiting) == (str(BusyError(3, 7.4)), 7, 3)
    assert str(copy.copy(error)) == str(error)


async def test_who_is_cancelled_while_waiting_gives_up_the_place_and_never_computes() -> None:
    threads, go, computed = NodeThreads(threads=1, most_waiting=1), threading.Event(), []
    first = asyncio.create_task(threads.call(go.wait))
    await asyncio.sleep(0)
    second = asyncio.create_task(threads.call(computed.append, 2))
    await asyncio.sleep(0)
    with pytest.raises(BusyError):
        threads.admit()
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    threads.admit()
    go.set()
    await first
    await threads.call(computed.append, 3)
    assert computed == [3]


async def test_an_error_gives_the_place_back() -> None:
    threads = NodeThreads(threads=1, most_waiting=1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            await threads.call(lambda: 1 // 0)
    threads.admit()


async def test_the_graph_says_busy_and_many_users_wait(tiny_bytes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings: dict[str, Any] = {"backbone": str(tiny_bytes), "retrieval": False}
    threads, go = NodeThreads(threads=1, most_waiting=1), threading.Event()
    monkeypatch.setattr(run_module, "node_threads", threads)
    held = [asyncio.create_task(threads.call(go.wait)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(BusyError):
        await arecommend(*REQUEST, **settings)
    asyncio.get_running_loop().call_later(0.1, go.set)
    found = [place async for place, _ in arecommend_many([REQUEST] * 3, concurrency=3, **settings)]
    assert sorted(found) == [0, 1, 2]
    await asyncio.gather(*held)
    assert threads.waiting == 0
