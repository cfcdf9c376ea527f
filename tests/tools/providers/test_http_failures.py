"""What a refusal means, and how long a service asks to wait."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webrec.tools.providers.http_failures import refusal, retry_after_seconds

NOW = datetime(2024, 5, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("1.5", 1.5),
        ("999999999", 86_400.0),
        ("Wed, 01 May 2024 12:00:30 GMT", 30.0),
        ("Wed, 01 May 2024 12:00:30 -0000", 30.0),
        ("Wed, 01 May 2024 14:00:30 +0200", 30.0),
        ("Wed, 01 May 2024 11:00:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400.0),
        ("-5", None),
        ("1e9", None),
        ("nan", None),
        ("inf", None),
        ("٣", None),
        ("1" * 13, None),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(value, now=NOW) == seconds


def test_a_time_counts_from_the_services_own_clock() -> None:
    then, date = "Wed, 01 May 2024 12:00:30 GMT", "Wed, 01 May 2024 12:00:10 GMT"
    assert retry_after_seconds(then, date, datetime(2031, 1, 1, tzinfo=UTC)) == 20.0
    assert retry_after_seconds(then, "no date", NOW) == 30.0


@given(
    st.text(max_size=40) | st.from_regex(r"[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d+ \d+:\d+:\d+ [+-]?\w+", fullmatch=True)
)
def test_any_header_is_a_bounded_time_or_none(value: str) -> None:
    seconds = retry_after_seconds(value, value)
    assert seconds is None or 0 <= seconds <= 86_400


def test_only_what_may_pass_is_worth_another_try() -> None:
    for status in [s for s in range(100, 600) if s != 200]:
        error = refusal("p", status, {"retry-after": "7"}, {})
        assert error.retry == (status in {429, 500, 502, 503, 504})
        assert error.retry_after == (7.0 if error.retry else None)
        assert error.lost == (status in {502, 504} or 200 < status < 300)
        assert f"HTTP {status}" in str(error)


def test_a_provider_has_meanings_of_its_own() -> None:
    assert str(refusal("p", 403, {}, {403: "is shut"})) == "p is shut"
