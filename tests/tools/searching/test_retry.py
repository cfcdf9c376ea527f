"""Retries: what is tried again, how long is paused, when it ends, and what is told."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webrec.errors import SearchError, SpendingCapError
from webrec.tools.searching.retry import FIRST_PAUSE, LONGEST_PAUSE, Tried, with_retries

BUSY = SearchError("busy", retry=True)
LOST = SearchError("broke off", retry=True, lost=True)
REFUSED = SearchError("refused")


@dataclass
class Service:
    """Fails as planned, then answers, on a clock of its own."""

    plan: list[SearchError]
    seconds: float = 1.0
    """That each call takes."""
    chance: float = 1.0
    now: float = 100.0
    calls: int = 0
    pauses: list[float] = field(default_factory=list)
    failures: list[SearchError] = field(default_factory=list)

    async def call(self) -> str:
        self.calls += 1
        self.now += self.seconds
        if self.plan:
            raise self.plan.pop(0)
        return "answer"

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    async def failed(self, error: SearchError) -> None:
        self.failures.append(error)

    async def ask(self, call: Callable[[], Any] | None = None, **changes: Any) -> Tried[str]:
        settings: dict[str, Any] = {"attempts": 3, "total_seconds": 60.0, "attempt_seconds": 8.0, **changes}
        return await with_retries(
            call or self.call,
            failed=self.failed,
            sleep=self.sleep,
            random=lambda: self.chance,
            clock=lambda: self.now,
            **settings,
        )


async def test_an_answer_ends_it() -> None:
    service = Service([])
    assert await service.ask() == Tried("answer", attempts=1, waited=0.0, lost=0)
    assert (service.pauses, service.failures) == ([], [])


async def test_what_may_pass_is_tried_again_after_growing_pauses() -> None:
    service = Service([BUSY, LOST, BUSY])
    assert await service.ask(attempts=9) == Tried("answer", attempts=4, waited=3.5, lost=1)
    assert service.pauses == [0.5, 1.0, 2.0]
    assert service.failures == [BUSY, LOST, BUSY]


@pytest.mark.parametrize(("chance", "pause"), [(0.0, 0.0), (0.5, FIRST_PAUSE / 2), (1.0, FIRST_PAUSE)])
async def test_a_pause_is_drawn_from_nothing_to_all_of_it(chance: float, pause: float) -> None:
    service = Service([BUSY], chance=chance)
    await service.ask()
    assert service.pauses == [pause]


async def test_pauses_stop_growing() -> None:
    service = Service([BUSY] * 9)
    await service.ask(attempts=10, total_seconds=600)
    assert service.pauses[-1] == LONGEST_PAUSE


async def test_a_refusal_ends_it_as_it_is() -> None:
    service = Service([REFUSED])
    with pytest.raises(SearchError) as caught:
        await service.ask()
    assert caught.value is REFUSED
    assert (service.calls, service.failures) == (1, [REFUSED])


async def test_too_many_attempts_are_told() -> None:
    service = Service([BUSY, LOST, SearchError("busy again", retry=True, retry_after=2)])
    with pytest.raises(SearchError, match=r"^busy again \(3 attempts\)$") as caught:
        await service.ask()
    error = caught.value
    assert (error.retry, error.retry_after, error.lost) == (True, 2, True), "a lost answer is not forgotten"
    assert len(service.failures) == 3


async def test_a_refusal_after_a_lost_answer_keeps_the_loss() -> None:
    service = Service([LOST, REFUSED])
    with pytest.raises(SearchError, match=r"^refused \(2 attempts\)$") as caught:
        await service.ask()
    assert (caught.value.retry, caught.value.lost) == (False, True)


async def test_the_time_that_the_service_asks_for_is_waited_and_then_some() -> None:
    service = Service([SearchError("busy", retry=True, retry_after=7)], chance=0.5)
    assert (await service.ask()).waited == 7.25
    assert service.pauses == [7.25]


@pytest.mark.parametrize("asked", [math.nan, -5.0, 0.0])
async def test_a_senseless_time_is_no_time(asked: float) -> None:
    service = Service([SearchError("busy", retry=True, retry_after=asked)])
    await service.ask()
    assert service.pauses == [FIRST_PAUSE]


@pytest.mark.parametrize("asked", [59.0, 3600.0, math.inf])
async def test_who_would_wait_too_long_gives_up_at_once(asked: float) -> None:
    service = Service([SearchError("busy", retry=True, retry_after=asked)])
    with pytest.raises(SearchError, match=r"asks to wait .* s, longer than search_seconds leaves$") as caught:
        await service.ask()
    assert (caught.value.retry_after, service.pauses, service.calls) == (asked, [], 1)


async def test_a_last_attempt_is_not_blamed_on_time() -> None:
    service = Service([SearchError("busy", retry=True, retry_after=3600)])
    with pytest.raises(SearchError, match=r"^busy$"):
        await service.ask(attempts=1)


async def test_a_call_without_enough_time_is_not_made() -> None:
    service = Service([BUSY] * 5, seconds=4.0)
    with pytest.raises(SearchError, match=r"^busy \(2 attempts\)$"):
        await service.ask(attempts=5, total_seconds=10, attempt_seconds=8)
    assert service.calls == 2, "2 s or more were left after the first, less after the second"


@given(
    seconds=st.floats(0, 30),
    chance=st.floats(0, 1),
    total=st.floats(0.1, 60),
    attempt=st.floats(0.1, 60),
    asked=st.none() | st.floats(0, 100),
)
def test_no_call_begins_without_a_quarter_of_its_time(
    seconds: float, chance: float, total: float, attempt: float, asked: float | None
) -> None:
    service = Service([SearchError("busy", retry=True, retry_after=asked)] * 20, seconds=seconds, chance=chance)
    begun = service.now
    left = []

    async def call() -> str:
        left.append(begun + total - service.now)
        return await service.call()

    with pytest.raises(SearchError):
        asyncio.run(service.ask(call, attempts=10, total_seconds=total, attempt_seconds=attempt))
    assert len(left) <= 10
    assert min(left) >= min(attempt, total) / 4 - 1e-9


async def test_waiting_for_our_own_limits_is_not_counted() -> None:
    service = Service([BUSY, BUSY])

    async def before() -> float:
        service.now += 1000
        return 1000.0

    assert await service.ask(before=before, total_seconds=10) == Tried("answer", attempts=3, waited=3001.5, lost=0)


async def test_what_before_raises_ends_it() -> None:
    service = Service([])

    async def before() -> float:
        raise SpendingCapError("cap")

    with pytest.raises(SpendingCapError, match=r"^cap$"):
        await service.ask(before=before)
    assert (service.calls, service.failures) == (0, [])


async def test_a_late_answer_is_a_lost_one() -> None:
    async def never() -> str:
        await asyncio.sleep(3600)
        return "late"

    failures = []

    async def failed(error: SearchError) -> None:
        failures.append(error)

    with pytest.raises(SearchError, match=r"^brave did not answer within 0\.01 s \(2 attempts\)$") as caught:
        await with_retries(
            never,
            attempts=2,
            total_seconds=5,
            attempt_seconds=0.01,
            failed=failed,
            sleep=lambda _: asyncio.sleep(0),
            name="brave",
        )
    assert (caught.value.retry, caught.value.lost) == (True, True)
    assert [f.lost for f in failures] == [True, True]


async def test_an_attempt_ends_with_the_whole() -> None:
    with pytest.raises(SearchError, match=r"within 0\.02 s$"):
        await with_retries(lambda: asyncio.sleep(3600), attempts=3, total_seconds=0.02, attempt_seconds=8)


@pytest.mark.parametrize("where", ["before", "call", "failed", "sleep"])
async def test_cancelling_passes_through_at_once(where: str) -> None:
    reached, calls = asyncio.Event(), 0

    async def stop(_: object = None) -> float:
        reached.set()
        await asyncio.sleep(3600)
        return 0.0

    async def call() -> str:
        nonlocal calls
        calls += 1
        if where == "call":
            await stop()
        raise BUSY

    hooks: dict[str, Any] = {where: stop} if where != "call" else {}
    task = asyncio.create_task(with_retries(call, attempts=3, total_seconds=60, attempt_seconds=60, **hooks))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert calls == (0 if where == "before" else 1)


async def test_the_callers_own_deadline_is_no_failure_of_the_service() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await with_retries(lambda: asyncio.sleep(3600), attempts=3, total_seconds=60, attempt_seconds=60)


async def test_other_errors_pass_unchanged() -> None:
    async def call() -> str:
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        await with_retries(call, attempts=3, total_seconds=1, attempt_seconds=1)


async def test_a_machine_that_slept_through_the_time_left_makes_no_call() -> None:
    service = Service([BUSY, BUSY])

    async def oversleep(_: float) -> None:
        service.now += 1_000.0

    with pytest.raises(SearchError, match="busy"):
        await with_retries(
            service.call,
            attempts=3,
            total_seconds=20.0,
            attempt_seconds=5.0,
            sleep=oversleep,
            clock=lambda: service.now,
        )
    assert service.calls == 1
