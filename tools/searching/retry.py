"""Asking again where it can help: bounded in calls and in time, with pauses that spread the askers."""

# tenacity was considered: it takes no clock, keeps its own count of time (in which waiting for our limits would count),
# bounds no single attempt, and its stop rules cannot see how long a service asked to wait. What is left of it is this loop.

from __future__ import annotations

import asyncio
import random as randomness
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from webrec.errors import SearchError

T = TypeVar("T")

FIRST_PAUSE = 0.5
"""Most seconds before the second attempt; doubled for each one after it."""
LONGEST_PAUSE = 8.0
LEAST_SHARE = 0.25
"""Of an attempt's time: with less than that left, a call would more likely be paid for and lost than answered."""


@dataclass(frozen=True)
class Tried(Generic[T]):
    """An answer, and what it took to get it."""

    value: T
    attempts: int
    """Calls made, the answered one included."""
    waited: float
    """Seconds not spent in calls: in `before`, and in pauses between attempts."""
    lost: int
    """Calls among them whose answer was lost."""


async def with_retries(
    call: Callable[[], Awaitable[T]],
    *,
    attempts: int,
    total_seconds: float,
    attempt_seconds: float,
    before: Callable[[], Awaitable[float]] | None = None,
    failed: Callable[[SearchError], Awaitable[None]] | None = None,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    random: Callable[[], float] = randomness.random,
    clock: Callable[[], float] = time.monotonic,
    name: str = "the service",
    limit: str = "search_seconds",
) -> Tried[T]:
    """The first answer of at most `attempts` calls, each cut off after `attempt_seconds`, in `total_seconds` in all.

    `before` is awaited before each call and returns the seconds it waited, which are not counted in `total_seconds`;
    what it raises ends it all. `failed` is awaited after each failed call. Only a `SearchError` with `retry` is tried
    again, after a pause drawn evenly from 0 to 0.5, 1, 2, … s, on top of what the service asks to wait. `sleep`,
    `random` (0 to 1) and `clock` (seconds) are for tests; `name` is what the sentence about a late answer starts with, `limit` the
    setting behind `total_seconds`.

    Raises the last `SearchError`, with the number of attempts in its sentence, and `lost` if any answer was; a call cut
    off counts as lost.
    """
    left, waited, made, lost = total_seconds, 0.0, 0, 0
    least = LEAST_SHARE * min(attempt_seconds, total_seconds)
    while True:
        if before is not None:
            waited += await before()
        made += 1
        seconds = min(attempt_seconds, left)
        begun = clock()
        try:
            async with asyncio.timeout(seconds):
                value = await call()
            return Tried(value, made, waited, lost)
        except TimeoutError:
            error = SearchError(f"{name} did not answer within {seconds:.3g} s", retry=True, lost=True)
        except SearchError as failure:
            error = failure
        left -= clock() - begun
        lost += error.lost
        if failed is not None:
            await failed(error)
        asked_to_wait = max(0.0, error.retry_after or 0.0)
        spare = left - asked_to_wait - least
        if not error.retry or made >= attempts or spare < 0:
            raise _given_up(error, made, lost > 0, limit if error.retry and made < attempts else None)
        pause = asked_to_wait + random() * min(FIRST_PAUSE * 2.0 ** (made - 1), LONGEST_PAUSE, spare)
        begun = clock()
        await sleep(pause)
        slept = clock() - begun
        left -= slept
        waited += slept
        if left <= 0:  # the machine slept longer than was asked
            raise _given_up(error, made, lost > 0, limit)


def _given_up(error: SearchError, made: int, lost: bool, late: str | None) -> SearchError:
    """`error` as the end of it all. `late`: another attempt was allowed, but there is no time left for it by this setting."""
    message = str(error)
    if late and error.retry_after:
        message += f"; it asks to wait {error.retry_after:.0f} s, longer than {late} leaves"
    if made > 1:
        message += f" ({made} attempts)"
    if message == str(error) and lost == error.lost:
        return error
    given_up = SearchError(message, retry=error.retry, retry_after=error.retry_after, lost=lost)
    given_up.__cause__ = error
    return given_up
