"""Joining and bounding within one process."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

from webrec.errors import SearchError
from webrec.tools.searching.joining import Flights, Turnstile, turnstile


async def test_one_asks_and_the_others_wait() -> None:
    flights = Flights()
    flight, ours = flights.board("k")
    assert ours
    assert flights.board("k") == (flight, False)
    assert flights.board("other")[1]
    waiting = [asyncio.create_task(flights.wait(flight)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    failure = SearchError("no", retry=True)
    flights.land("k", flight, failure)
    assert await asyncio.gather(*waiting[1:]) == [failure, failure]
    assert await flights.wait(flight) is failure
    assert flights.board("k")[1]


async def test_waiters_in_other_threads_wake_and_dead_loops_do_no_harm() -> None:
    flights = Flights()
    flight, _ = flights.board("k")
    woken = []
    ready = threading.Barrier(3)

    def wait(stay: bool) -> None:
        async def waiter() -> None:
            task = asyncio.create_task(flights.wait(flight))
            await asyncio.sleep(0.01)
            ready.wait()
            if stay:
                woken.append(await task)

        asyncio.run(waiter())

    threads = [threading.Thread(target=wait, args=(stay,)) for stay in (True, False)]
    for thread in threads:
        thread.start()
    await asyncio.to_thread(ready.wait)
    await asyncio.to_thread(threads[1].join)
    flights.land("k", flight, None)
    await asyncio.to_thread(threads[0].join)
    assert woken == [None]


async def test_a_turnstile_lets_in_so_many_in_order() -> None:
    gate, order, inside, most = Turnstile(), [], 0, 0

    async def visit(number: int) -> None:
        nonlocal inside, most
        await gate.enter(3)
        inside += 1
        most = max(most, inside)
        order.append(number)
        await asyncio.sleep(0.001)
        inside -= 1
        gate.leave()

    await asyncio.gather(*(visit(i) for i in range(12)))
    assert (order, most) == (list(range(12)), 3)


@pytest.mark.parametrize("admitted", [False, True])
async def test_a_cancelled_visitor_holds_no_place(admitted: bool) -> None:
    gate = Turnstile()
    await gate.enter(1)
    waiting = asyncio.create_task(gate.enter(1))
    await asyncio.sleep(0)
    if admitted:
        gate.leave()  # lets it in, but it is cancelled before it notices
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    if not admitted:
        gate.leave()
    await asyncio.wait_for(gate.enter(1), 5)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_starts_with_an_empty_turnstile() -> None:
    gate = turnstile("forked")
    asyncio.run(gate.enter(1))
    child = os.fork()
    if child == 0:
        os._exit(0 if turnstile("forked") is not gate else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
