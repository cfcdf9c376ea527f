"""What dates are read as, and that what is not certain is not read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webrec.tools.reading.dates import Period, parse_period

MOMENTS = st.datetimes(min_value=datetime(1950, 1, 1), max_value=datetime(2200, 1, 1)).map(
    lambda moment: moment.replace(microsecond=0)
)
ZONES = st.integers(-14 * 4, 14 * 4).map(lambda quarters: timezone(timedelta(minutes=15 * quarters)))


def period(first: str, end: str) -> Period:
    return Period(datetime.fromisoformat(first + "+00:00"), datetime.fromisoformat(end + "+00:00"))


@pytest.mark.parametrize(
    ("text", "first", "end"),
    [
        ("2014-05-05", "2014-05-05T00:00", "2014-05-06T00:00"),
        ("2014/5/5", "2014-05-05T00:00", "2014-05-06T00:00"),
        ("2014.05.05", "2014-05-05T00:00", "2014-05-06T00:00"),
        ("20140505", "2014-05-05T00:00", "2014-05-06T00:00"),
        ("2014-12-31", "2014-12-31T00:00", "2015-01-01T00:00"),
        ("2014-07", "2014-07-01T00:00", "2014-08-01T00:00"),
        ("2014-12", "2014-12-01T00:00", "2015-01-01T00:00"),
        ("2014", "2014-01-01T00:00", "2015-01-01T00:00"),
        ("2014-05-05T12:30", "2014-05-05T12:30", "2014-05-05T12:31"),
        ("2014-05-05 12:30:15", "2014-05-05T12:30:15", "2014-05-05T12:30:16"),
        ("2014-05-05T12:30:15Z", "2014-05-05T12:30:15", "2014-05-05T12:30:16"),
        ("2014-05-05T23:30:00-05:00", "2014-05-06T04:30", "2014-05-06T04:30:01"),
        ("2014-05-05T01:00:00+0530", "2014-05-04T19:30", "2014-05-04T19:30:01"),
        ("2014-05-05T01:00:00+02", "2014-05-04T23:00", "2014-05-04T23:00:01"),
        ("2014-05-05T12:30:15.25Z", "2014-05-05T12:30:15.250000", "2014-05-05T12:30:15.250001"),
        ("1399292415", "2014-05-05T12:20:15", "2014-05-05T12:20:16"),
        ("964980499", "2000-07-30T18:08:19", "2000-07-30T18:08:20"),
        ("1399292415123", "2014-05-05T12:20:15", "2014-05-05T12:20:16"),
        ("1399292415.5", "2014-05-05T12:20:15", "2014-05-05T12:20:16"),
        ("May 5, 2014", "2014-05-05T00:00", "2014-05-06T00:00"),
        ("  Sept. 5th,  2014 ", "2014-09-05T00:00", "2014-09-06T00:00"),
        ("5 May 2014", "2014-05-05T00:00", "2014-05-06T00:00"),
        ("1st December, 2014", "2014-12-01T00:00", "2014-12-02T00:00"),
        ("july 2014", "2014-07-01T00:00", "2014-08-01T00:00"),
        ("Mon, 05 May 2014 12:00:00 GMT", "2014-05-05T12:00", "2014-05-05T12:00:01"),
        ("5 May 2014 12:00 EST", "2014-05-05T17:00", "2014-05-05T17:00:01"),
        ("Mon, 05 May 2014 12:00:00 -0700 (PDT)", "2014-05-05T19:00", "2014-05-05T19:00:01"),
        ("Mon, 05 May 2014 12:00:00 -0700", "2014-05-05T19:00", "2014-05-05T19:00:01"),
    ],
)
def test_dates_that_are_read(text: str, first: str, end: str) -> None:
    assert parse_period(text) == period(first, end)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "3 days ago",
        "05/06/2014",
        "5.6.14",
        "2014-02-30",
        "2014-13-01",
        "2014-00",
        "0000-01-01",
        "2014-05/05",
        "2014-05T12:00",
        "2014-05-05T25:00",
        "2014-05-05T12:00:00+99:00",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31",
        "9999",
        "12",
        "12345678901234567",
        "Maya 5, 2014",
        "Ju 2014",
        "May 32, 2014",
        "May 0, 2014",
        "Mon, 99 May 2014 12:00:00 GMT",
        "５ May 2014",
        "updated 2014-05-05",
        "201905051200",
        "5 May 2014 11:30 PM",
        "Mon, 05 May 2014 12:00:00 JST",
        "Mon, 05 May 2014 12:00:00 AKST",
        "2014-05-05 and later",
    ],
)
def test_what_is_not_certain_is_no_date(text: str) -> None:
    assert parse_period(text) is None


@given(MOMENTS, ZONES)
def test_every_spelling_of_a_moment_is_that_moment(moment: datetime, zone: timezone) -> None:
    aware = moment.replace(tzinfo=zone)
    expected = Period(aware.astimezone(UTC), aware.astimezone(UTC) + timedelta(seconds=1))
    assert parse_period(aware.isoformat()) == expected
    assert parse_period(aware.isoformat(" ")) == expected
    assert parse_period(format_datetime(aware)) == expected
    if 1e8 <= aware.timestamp() < 1e10:
        assert parse_period(str(int(aware.timestamp()))) == expected


@given(MOMENTS)
def test_a_coarser_date_holds_the_moment(moment: datetime) -> None:
    aware = moment.replace(tzinfo=UTC)
    for pattern in ("%Y", "%Y-%m", "%B %Y", "%Y-%m-%d", "%d %b %Y", "%B %d, %Y", "%Y-%m-%dT%H:%M"):
        read = parse_period(aware.strftime(pattern))
        assert read is not None
        assert read.first <= aware < read.end
        assert read.first.strftime(pattern) == aware.strftime(pattern) != read.end.strftime(pattern)


@given(st.text(max_size=40) | st.text(st.sampled_from("0123456789-:T+Z. ,/May"), max_size=25))
def test_any_text_is_read_or_not_and_never_raises(text: str) -> None:
    read = parse_period(text)
    assert read is None or read.first < read.end
