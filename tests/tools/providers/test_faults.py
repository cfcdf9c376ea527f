"""Every fault × provider: calls, losses and the sentence, against an explicit table; and the document that shows them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from .answers import PROVIDERS
from .fault_server import FaultServer
from .faults import DOCUMENT, FAULTS, KEY, NOBODY, ONLY, QUERY, Grid, all_behaviours, document


@dataclass(frozen=True)
class Expected:
    calls: int
    lost: int
    said: str
    """A pattern that the whole outcome matches."""
    pauses: tuple[float, ...] = ()


FINE = Expected(1, 0, "2 pages")
STRANGE_PAGE = Expected(1, 1, "duckduckgo answered a page of an unknown shape; .*")
NOT_JSON = Expected(1, 1, r"\w+ answered something that is not JSON \(application/json\)")
NO_LIST = Expected(1, 1, r"\w+ answered without a list of results")
REDIRECT = Expected(1, 0, r"\w+ answered with a redirect \(HTTP 30[27]\), which is not followed")
TWO = (0.5, 1.0)
BROKEN = Expected(3, 3, r"\w+ broke off the connection.* \(3 attempts\)", TWO)
LATE = Expected(3, 3, r"\w+ did not answer within 0\.25 s \(3 attempts\)", TWO)

EXPECTED: dict[str, Expected] = {
    "none": FINE,
    "gzip": FINE,
    "wrong content type": FINE,
    "text that is not UTF-8": FINE,
    "a byte order mark before the answer": FINE,
    "nothing found": Expected(1, 0, "0 pages"),
    "400": Expected(1, 0, r"\w+ answered HTTP 400"),
    "401": Expected(1, 0, r"(tavily|brave) refused the key \(HTTP 401\); check it"),
    "403": Expected(1, 0, r"(tavily|brave) refused the key \(HTTP 403\); check it"),
    "404": Expected(1, 0, r"\w+ answered HTTP 404"),
    "429, no Retry-After": Expected(3, 0, r"\w+ .*\(HTTP 429\).* \(3 attempts\)", TWO),
    "429, Retry-After: 2": Expected(3, 0, r"\w+ .*\(HTTP 429\).* \(3 attempts\)", (2.5, 3.0)),
    "429, Retry-After: 3600": Expected(1, 0, r"\w+ .*\(HTTP 429\).*; it asks to wait 3600 s, longer than .* leaves"),
    "500": Expected(3, 0, r"\w+ answered HTTP 500 \(3 attempts\)", TWO),
    "501": Expected(1, 0, r"\w+ answered HTTP 501"),
    "502": Expected(3, 3, r"\w+ answered HTTP 502 \(3 attempts\)", TWO),
    "202 with a riddle": Expected(1, 1, r"\w+ answered HTTP 202"),
    "503 once, then fine": Expected(2, 0, "2 pages", (0.5,)),
    "timeout": LATE,
    "slow drip": LATE,
    NOBODY: Expected(3, 0, r"\w+ could not be reached \(ConnectError\) \(3 attempts\)", TWO),
    "connection closed before the answer": BROKEN,
    "reset in mid-body": BROKEN,
    "50 MB body": Expected(1, 1, r"\w+ answered more than [52],000,000 bytes"),
    "gzip bomb (50 MB in 49 kB)": Expected(1, 1, r"\w+ answered more than [52],000,000 bytes"),
    "gzip that is none": Expected(1, 1, r"\w+ answered something that could not be decompressed"),
    "HTML instead of JSON, another page": Expected(1, 1, r"\w+ answered something that is not JSON \(text/html\)"),
    "empty body": NOT_JSON,
    "100,000 brackets": NOT_JSON,
    "missing fields": NO_LIST,
    "nulls": NO_LIST,
    "wrong types": NO_LIST,
    "results of nulls": Expected(1, 1, r"\w+ answered results of an unknown shape"),
    "a list instead of an object": Expected(1, 1, r"\w+ answered JSON of an unknown shape"),
    "no engine answered": Expected(1, 0, "searxng found nothing because 2 of its engines did not answer; .*"),
    "redirect loop": REDIRECT,
    "redirect to 127.0.0.1": REDIRECT,
    "redirect to 169.254.169.254": REDIRECT,
    "redirect to file:": REDIRECT,
}
EXCEPTIONS: dict[tuple[str, str], Expected] = {
    ("401", "searxng"): Expected(1, 0, r"searxng asks for a login \(HTTP 401\).*"),
    ("401", "duckduckgo"): Expected(1, 0, r"duckduckgo refused \(HTTP 401\).*"),
    ("403", "searxng"): Expected(
        1, 0, r"searxng refused \(HTTP 403\).*JSON format is off; add json to search\.formats.*"
    ),
    ("403", "duckduckgo"): Expected(1, 0, r"duckduckgo refused \(HTTP 403\).*"),
    ("404", "searxng"): Expected(1, 0, r"searxng has no search at searxng_url \(HTTP 404\).*"),
    ("202 with a riddle", "duckduckgo"): Expected(1, 0, r"duckduckgo refused \(HTTP 202\).*"),
    ("gzip that is none", "duckduckgo"): BROKEN,
    ("missing fields", "brave"): Expected(1, 1, "brave answered JSON of an unknown shape"),
    **{
        (fault, "duckduckgo"): STRANGE_PAGE
        for fault in (
            "HTML instead of JSON, another page",
            "empty body",
            "100,000 brackets",
            "missing fields",
            "nulls",
            "wrong types",
            "results of nulls",
            "a list instead of an object",
        )
    },
}


@dataclass(frozen=True)
class Played:
    grid: Grid
    server: FaultServer


@pytest.fixture(scope="module")
def played() -> Iterator[Played]:
    with FaultServer() as server:
        yield Played(asyncio.run(all_behaviours(server)), server)


CELLS = [(fault, name) for fault in FAULTS for name in ONLY.get(fault, PROVIDERS)]


@pytest.mark.parametrize(("fault", "name"), CELLS)
def test_behaviour(played: Played, fault: str, name: str) -> None:
    expected = EXCEPTIONS.get((fault, name), EXPECTED[fault])
    found = played.grid[fault, name]
    assert (found.calls, found.lost, found.pauses) == (expected.calls, expected.lost, expected.pauses)
    assert re.fullmatch(expected.said, found.outcome), found.outcome
    assert found.outcome.endswith(" pages") or found.outcome.startswith(name)
    assert KEY not in found.outcome
    assert QUERY not in found.outcome
    assert played.server.asked[fault, name] == (0 if fault == NOBODY else expected.calls)


def test_no_redirect_is_followed_and_no_cookie_kept(played: Played) -> None:
    assert played.server.trapped == 0
    assert played.server.headers
    assert not [head for head in played.server.headers if "cookie" in head.lower()]


def test_the_document_says_what_happens(played: Played) -> None:
    assert DOCUMENT.read_text("utf-8") == document(played.grid), "run: python -m tests.tools.providers.faults"
