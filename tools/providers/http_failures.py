"""What a service's refusal means: the sentence, whether asking again can help, and when."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from webrec.errors import SearchError

RETRIED = frozenset({429, 500, 502, 503, 504})
GATEWAY = frozenset({502, 504})
"""A gateway lost the answer of the service behind it, which may have done its work."""
LONGEST_RETRY_AFTER = 86_400.0
"""Seconds; whatever asks for more is taken to ask for this."""


def refusal(provider: str, status: int, headers: Mapping[str, str], meanings: Mapping[int, str]) -> SearchError:
    """The failure that an HTTP status other than 200 is. `headers`: by lower-case name.

    `meanings`: what a status means for this provider, as the rest of a sentence that starts with its name.
    """
    meaning = meanings.get(status) or _meaning(status)
    retry_after = retry_after_seconds(headers.get("retry-after"), headers.get("date")) if status in RETRIED else None
    return SearchError(
        f"{provider} {meaning}",
        retry=status in RETRIED,
        retry_after=retry_after,
        lost=status in GATEWAY or 200 <= status < 300,
    )


def _meaning(status: int) -> str:
    if status in {401, 403}:
        return f"refused the key (HTTP {status}); check it"
    if status == 429:
        return "is over its rate limit (HTTP 429); try again later"
    if 300 <= status < 400:
        return f"answered with a redirect (HTTP {status}), which is not followed"
    return f"answered HTTP {status}"


def retry_after_seconds(value: str | None, date: str | None = None, now: datetime | None = None) -> float | None:
    """Seconds that a `Retry-After` header asks to wait, from 0 to a day; None if it is absent or unreadable.

    It holds seconds or a time. A time counts from the answer's own `date` where that is readable, so that two clocks
    that disagree do no harm.
    """
    if value is None:
        return None
    value = value.strip()
    if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,6})?", value):
        return min(float(value), LONGEST_RETRY_AFTER)
    then = _time(value)
    if then is None:
        return None
    start = _time(date) or now or datetime.now(UTC)
    return min(max((then - start) / timedelta(seconds=1), 0.0), LONGEST_RETRY_AFTER)


def _time(value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        time = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
