"""Slots and caps, on the ledger itself: times are given, nothing sleeps."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webrec.errors import ConfigurationError, SpendingCapError
from webrec.tools.config import LimitsConfig
from webrec.tools.searching import ledger
from webrec.tools.searching.database import _TABLES
from webrec.tools.searching.ledger import Call
from webrec.tools.searching.limits import Limits, first_day, period_end

NOON = 1_709_208_000.0  # 2024-02-29 12:00 UTC
DAY = 86_400.0
_ids = itertools.count()


@pytest.fixture
def tables() -> Iterator[sqlite3.Connection]:
    with fresh() as connection:
        yield connection


def fresh() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(_TABLES)
    return connection


def call(provider: str = "p", cost_units: float = 1.0, owner: str = "o") -> Call:
    return Call(str(next(_ids)), provider, "key", owner, cost_units)


def limits(
    gap: float = 0.0, calls: int | None = None, spend: float | None = None, price: float = 0.0, period: str = "day"
) -> Limits:
    return Limits(gap, calls, spend, price, period)


def of(provider: str = "p", cost_units: float = 1.0, **fields: Any) -> Limits:
    defaults = SimpleNamespace(**LimitsConfig(**fields).model_dump())
    return Limits.of(defaults, provider, cost_units)


def test_slots_are_apart_by_the_rate(tables: sqlite3.Connection) -> None:
    two_a_second = limits(gap=0.5)
    waits = [ledger.reserve(tables, call(), two_a_second, NOON + late) for late in (0, 0.1, 0.2, 5, 5)]
    assert waits == pytest.approx([0, 0.4, 0.8, 0, 0.5])
    assert ledger.reserve(tables, call("other"), two_a_second, NOON + 5) == 0


def test_a_call_that_waits_for_its_slot_is_booked_later(tables: sqlite3.Connection) -> None:
    first, second = call(), call()
    assert ledger.reserve(tables, first, limits(gap=1), NOON) == 0
    assert ledger.reserve(tables, second, limits(gap=1), NOON) == 1
    assert tables.execute("SELECT id FROM calls").fetchall() == [(first.id,)]
    ledger.book(tables, second, limits(gap=1), NOON + 1)
    assert ledger.usage(tables, NOON)[0].calls == 2


def test_a_clock_set_back_keeps_the_queue_as_long_as_it_was(tables: sqlite3.Connection) -> None:
    for _ in range(3):
        ledger.reserve(tables, call(), limits(gap=1), NOON)
    assert ledger.reserve(tables, call(), limits(gap=1), NOON - 3_600) == pytest.approx(3)
    assert ledger.reserve(tables, call(), limits(gap=1), NOON - 3_600) == pytest.approx(4)
    assert ledger.reserve(tables, call(), limits(gap=1), NOON + 3_600) == 0


def test_a_provider_that_asks_to_wait_is_left_alone(tables: sqlite3.Connection) -> None:
    ledger.pause(tables, "p", 7.0, NOON)
    assert ledger.reserve(tables, call(), limits(), NOON + 1) == pytest.approx(6)
    ledger.pause(tables, "p", 1.0, NOON + 1)  # a shorter wish does not shorten the wait
    assert ledger.reserve(tables, call(), limits(), NOON + 1) == pytest.approx(6)
    assert ledger.reserve(tables, call("other"), limits(), NOON + 1) == 0
    assert ledger.reserve(tables, call(), limits(), NOON + 8) == 0


def test_the_cap_of_calls(tables: sqlite3.Connection) -> None:
    two = limits(calls=2)
    for _ in range(2):
        ledger.book(tables, call(), two, NOON)
    with pytest.raises(
        SpendingCapError, match=r"max_search_calls: 2 of 2 calls to p are used.* ends at 2024-03-01 00:00 UTC"
    ):
        ledger.book(tables, call(), two, NOON)
    ledger.book(tables, call("other"), two, NOON)
    ledger.book(tables, call(), two, NOON + DAY)
    with pytest.raises(SpendingCapError):
        ledger.book(tables, call(), limits(calls=2, period="forever"), NOON + DAY)


def test_a_refused_call_takes_no_slot(tables: sqlite3.Connection) -> None:
    with pytest.raises(SpendingCapError):
        ledger.reserve(tables, call(), limits(gap=1, calls=0), NOON)
    assert ledger.reserve(tables, call(), limits(gap=1), NOON) == 0


def test_the_cap_of_money_is_over_all_providers(tables: sqlite3.Connection) -> None:
    dear, cheap = limits(spend=1.0, price=0.3), limits(spend=1.0, price=0.05)
    for _ in range(3):
        ledger.book(tables, call("dear"), dear, NOON)
    with pytest.raises(SpendingCapError, match=r"max_search_spend: 0.9 of 1 is spent .*to dear, at 0.3"):
        ledger.book(tables, call("dear"), dear, NOON)
    for _ in range(2):  # to the cap exactly, whatever the rounding
        ledger.book(tables, call("cheap"), cheap, NOON)
    with pytest.raises(SpendingCapError):
        ledger.book(tables, call("cheap"), cheap, NOON)
    ledger.book(tables, call("free", cost_units=0), limits(spend=1.0, price=9), NOON)
    ledger.book(tables, call("unpriced"), limits(spend=1.0), NOON)


@pytest.mark.parametrize(
    ("outcome", "calls", "spend"), [("answered", 1, 0.5), ("failed", 1, 0.0), ("lost", 1, 0.5), ("unsent", 0, 0.0)]
)
def test_what_a_settled_call_counts_as(tables: sqlite3.Connection, outcome: Any, calls: int, spend: float) -> None:
    made = call()
    ledger.book(tables, made, limits(price=0.5), NOON)
    for settled in (outcome, "failed", "answered"):  # only the first settles
        ledger.settle(tables, made.id, settled)
    usage = ledger.usage(tables, NOON)[0]
    assert (usage.calls, usage.spend) == (calls, spend)
    assert usage.answered + usage.failed + usage.lost == calls
    assert calls == 0 or getattr(usage, outcome) == 1


def test_the_calls_of_the_dead_are_lost(tables: sqlite3.Connection) -> None:
    for owner in ("dead", "alive"):
        ledger.book(tables, call(owner=owner), limits(price=0.5), NOON)
    for _ in range(2):
        ledger.lose_calls_of(tables, "dead")
    usage = ledger.usage(tables, NOON)[0]
    assert (usage.calls, usage.lost, usage.spend) == (2, 1, 1.0)


@settings(deadline=None)
@given(
    calls=st.lists(
        st.tuples(
            st.sampled_from("ab"), st.integers(0, 40), st.sampled_from(["answered", "failed", "lost", "unsent", None])
        )
    ),
    cap=st.integers(0, 6),
    money=st.integers(0, 20),
    period=st.sampled_from(["day", "month", "forever"]),
)
def test_no_order_of_events_exceeds_a_cap(calls: list[tuple[str, int, Any]], cap: int, money: int, period: str) -> None:
    prices = {"a": 0.1, "b": 0.3}
    with fresh() as tables:
        for provider, day, outcome in sorted(calls, key=lambda c: c[1]):
            made = call(provider)
            try:
                ledger.reserve(tables, made, limits(0, cap, money / 10, prices[provider], period), NOON + day * DAY)
            except SpendingCapError:
                continue
            rows = tables.execute(
                "SELECT provider, count(*), sum(price * (state != 'failed')) FROM calls WHERE substr(time, 1, 10) >= ? GROUP BY provider",
                (first_day(period, NOON + day * DAY),),
            ).fetchall()
            assert all(count <= cap for _, count, _ in rows)
            assert sum(spend for *_, spend in rows) <= money / 10 + 1e-6
            if outcome:
                ledger.settle(tables, made.id, outcome)


def test_periods() -> None:
    assert [first_day(p, NOON) for p in ("day", "month", "forever")] == ["2024-02-29", "2024-02-01", ""]
    assert "2024-03-01 00:00 UTC" in period_end("month", NOON)
    assert "2025-01-01 00:00 UTC" in period_end("month", NOON + 300 * DAY)
    assert "never" in period_end("forever", NOON)


def test_limits_of_a_provider() -> None:
    assert of(search_rate="p=4,q=1", search_price={"p": 0.5}) == limits(gap=0.25, price=0.5)
    assert of(search_rate={"q": 1}).gap == 0
    assert of(max_search_spend=1, cost_units=0.0).price == 0
    with pytest.raises(ConfigurationError, match=r"search_price: .*p=PRICE"):
        of(max_search_spend=1, search_price={"q": 1})
    with pytest.raises(ConfigurationError, match="search_rate: p=0"):
        of(search_rate={"p": 0})


def test_a_later_price_changes_nothing_that_was_spent() -> None:
    with fresh() as tables:
        ledger.book(tables, call(), limits(price=1.0), NOON)
        ledger.book(tables, call(), limits(price=2.0), NOON)
        assert ledger.usage(tables, NOON)[0].spend == 3.0
