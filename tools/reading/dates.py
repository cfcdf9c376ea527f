"""When a page says it was published: as an interval, since most pages say a day and some only a month."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

_ZONE = r"(?P<zone>Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)?"
_ISO = re.compile(
    r"(?P<year>\d{4})(?:(?P<dash>[-/.])(?P<month>\d\d?)(?:(?P=dash)(?P<day>\d\d?))?)?"
    r"(?:[T ]+(?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?)? ?" + _ZONE + ")?",
    re.ASCII | re.IGNORECASE,
)
_COMPACT = re.compile(r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)", re.ASCII)
_UNIX = re.compile(r"(?P<seconds>\d{9}|\d{10}(?:\d{3})?)(?:\.\d{1,9})?", re.ASCII)
_WORDS = (
    re.compile(r"(?P<name>[A-Za-z]{3,9})\.? (?:(?P<day>\d{1,2})(?:st|nd|rd|th)?,? )?(?P<year>\d{4})", re.ASCII),
    re.compile(r"(?P<day>\d{1,2})(?:st|nd|rd|th|\.)? (?P<name>[A-Za-z]{3,9})\.?,? (?P<year>\d{4})", re.ASCII),
)
_MAIL = re.compile(
    r"(?:[A-Za-z]{3}, )?\d{1,2} [A-Za-z]{3} \d{4} \d\d:\d\d(?::\d\d)?"
    r"(?: (?:[+-]\d{4}|GMT|UTC?|Z|[ECMP][SD]T)(?: \([A-Za-z ]+\))?)?",
    re.ASCII,
)
_YEAR = "january february march april may june july august september october november december"
_MONTHS = _YEAR.split()


@dataclass(frozen=True)
class Period:
    """From `first` to before `end`, both in UTC: as long as what was said leaves open."""

    first: datetime
    end: datetime


def parse_period(text: str) -> Period | None:
    """The second, minute, day, month or year that `text` names, or None if it names none for certain.

    Read are ISO 8601 ("2014-05-05", "2014-05-05T12:00:00.5+02:00", "20140505", "2014-05", "2014", also with "/" or "."
    after the year), Unix seconds and milliseconds, English dates ("May 5, 2014", "5 May 2014", "May 2014") and the dates
    of e-mail headers. A time without zone is taken for UTC. What can be read in two ways ("05/06/2014") or depends on the
    day of reading ("3 days ago") names none.
    """
    text = " ".join(text.split())
    try:
        return _iso(text) or _unix(text) or _in_words(text) or _mail(text)
    except (ValueError, OverflowError):  # no such day, no such zone, or past the calendar's ends
        return None


def _iso(text: str) -> Period | None:
    found = _ISO.fullmatch(text) or _COMPACT.fullmatch(text)
    if found is None:
        return None
    said = found.groupdict()
    year, month, day = int(said["year"]), _number(said["month"]), _number(said["day"])
    if said.get("hour") is None:
        return _calendar(year, month, day)
    if month is None or day is None:
        return None
    first = datetime(year, month, day, int(said["hour"]), int(said["minute"]), tzinfo=_zone(said["zone"]))
    if said["second"] is None:
        return _from(first, timedelta(minutes=1))
    first = first.replace(second=int(said["second"]))
    if said["fraction"] is None:
        return _from(first, timedelta(seconds=1))
    return _from(first.replace(microsecond=int(said["fraction"][:6].ljust(6, "0"))), timedelta(microseconds=1))


def _unix(text: str) -> Period | None:
    found = _UNIX.fullmatch(text)
    if found is None:
        return None
    # A day with its hour (2014050512) is read as a second after 2030: never as earlier than it is.
    first = datetime.fromtimestamp(int(found["seconds"][:10]), UTC)
    return _from(first, timedelta(seconds=1))


def _in_words(text: str) -> Period | None:
    for pattern in _WORDS:
        found = pattern.fullmatch(text)
        if found:
            name = found["name"].lower()
            months = [n for n, month in enumerate(_MONTHS, 1) if name in {month, month[:3], month[:4]}]
            if months:
                return _calendar(int(found["year"]), months[0], _number(found["day"]))
    return None


def _mail(text: str) -> Period | None:
    if not _MAIL.fullmatch(text):
        return None
    first = parsedate_to_datetime(text)
    return _from(first if first.tzinfo else first.replace(tzinfo=UTC), timedelta(seconds=1))


def _number(digits: str | None) -> int | None:
    return None if digits is None else int(digits)


def _calendar(year: int, month: int | None, day: int | None) -> Period:
    """The whole year, month or day."""
    first = datetime(year, 1 if month is None else month, 1 if day is None else day, tzinfo=UTC)
    if day is not None:
        return Period(first, first + timedelta(days=1))
    if month is not None:
        return Period(first, datetime(year + (first.month == 12), first.month % 12 + 1, 1, tzinfo=UTC))
    return Period(first, datetime(year + 1, 1, 1, tzinfo=UTC))


def _from(first: datetime, length: timedelta) -> Period:
    first = first.astimezone(UTC)
    return Period(first, first + length)


def _zone(name: str | None) -> timezone:
    if name is None or name.upper() in {"Z", "UTC", "GMT"}:
        return UTC
    digits = name[1:].replace(":", "").ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(offset if name[0] == "+" else -offset)


def later(one: str, other: str) -> str:
    """Whichever of two dates ends later; the readable one if the other is not, and `one` if neither is."""
    first, second = parse_period(one), parse_period(other)
    if second is None:
        return one
    return other if first is None or second.end > first.end else one
