"""Every fault for every provider, asked as WebRec asks, and the table of docs/search-faults.md that comes of it.

python -m tests.tools.providers.faults          writes the document anew
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from webrec.errors import SearchError
from webrec.tools.page import MeteredProvider
from webrec.tools.providers.brave import Brave
from webrec.tools.providers.duckduckgo import DuckDuckGo
from webrec.tools.providers.searxng import SearXNG
from webrec.tools.providers.tavily import Tavily
from webrec.tools.searching.retry import with_retries

from .answers import PROVIDERS
from .fault_server import BODIES, STATUSES, FaultServer

DOCUMENT = Path(__file__).parents[3] / "docs" / "search-faults.md"
KEY = "canary-key-5f1e"
QUERY = "canary query 77aa"
SLOW = ("timeout", "slow drip")
"""Faults for which an attempt gets a short time here."""
NOBODY = "nobody listens"
ONLY = {"no engine answered": ("searxng",)}
"""Faults that one provider has of its own."""
FAULTS = (
    "none",
    "gzip",
    "nothing found",
    *(s for s in STATUSES if s[0].isdigit()),
    "503 once, then fine",
    *SLOW,
    NOBODY,
    "connection closed before the answer",
    "reset in mid-body",
    "50 MB body",
    "gzip bomb (50 MB in 49 kB)",
    "gzip that is none",
    "wrong content type",
    *(b for b in BODIES if b != "nothing found"),
    "redirect loop",
    "redirect to 127.0.0.1",
    *(s for s in STATUSES if s.startswith("redirect")),
)


@dataclass(frozen=True)
class Behaviour:
    """What came of one question."""

    calls: int
    lost: int
    """Calls whose answer was lost."""
    pauses: tuple[float, ...]
    """Seconds, with all dice at their highest."""
    outcome: str
    """Pages, or the error's sentence."""


def provider_at(name: str, url: str) -> MeteredProvider:
    """The provider `name`, asking at `url`."""
    key = SecretStr(KEY)
    made: dict[str, MeteredProvider] = {
        "tavily": Tavily(key, url),
        "brave": Brave(key, url),
        "searxng": SearXNG(url),
        "duckduckgo": DuckDuckGo(url),
    }
    return made[name]


async def behaviour(server: FaultServer, fault: str, name: str) -> Behaviour:
    """Ask once, with the default settings but for slow faults; pauses pass at once."""
    provider = provider_at(name, "http://127.0.0.1:9" if fault == NOBODY else server.url(fault))
    failures: list[SearchError] = []
    pauses: list[float] = []

    async def failed(error: SearchError) -> None:
        failures.append(error)

    async def pause(seconds: float) -> None:
        pauses.append(round(seconds, 3))

    settings: dict[str, Any] = {"attempts": 3, "total_seconds": 20.0, "attempt_seconds": 8.0}
    if fault in SLOW:
        settings["attempt_seconds"] = 0.25
    try:
        tried = await with_retries(
            lambda: provider.search(QUERY, 10),
            failed=failed,
            sleep=pause,
            random=lambda: 1.0,
            clock=lambda: time.monotonic() + sum(pauses),
            name=name,
            **settings,
        )
        calls, outcome = tried.attempts, f"{len(tried.value)} pages"
    except SearchError as error:
        calls, outcome = len(failures), str(error)
    return Behaviour(calls, sum(f.lost for f in failures), tuple(pauses), outcome)


Grid = dict[tuple[str, str], Behaviour]


async def all_behaviours(server: FaultServer) -> Grid:
    """Every fault × provider, eight at a time."""
    places = asyncio.Semaphore(8)

    async def one(fault: str, name: str) -> Behaviour:
        async with places:
            return await behaviour(server, fault, name)

    keys = [(fault, name) for fault in FAULTS for name in ONLY.get(fault, PROVIDERS)]
    return dict(zip(keys, await asyncio.gather(*(one(*key) for key in keys)), strict=True))


def document(grid: Grid) -> str:
    """docs/search-faults.md: providers that behave alike share a row; `…` is the provider's name."""
    rows = []
    for fault in FAULTS:
        alike: dict[Behaviour, list[str]] = defaultdict(list)
        for name in ONLY.get(fault, PROVIDERS):
            found = grid[fault, name]
            outcome = found.outcome.replace(name, "…", 1)
            alike[Behaviour(found.calls, found.lost, found.pauses, outcome)].append(name)
        for found, names in alike.items():
            who = "all" if len(names) == len(PROVIDERS) else ", ".join(names)
            pauses = " + ".join(f"{p:g}" for p in found.pauses) or "–"
            rows.append(f"| {fault} | {who} | {found.calls} | {found.lost} | {pauses} | {found.outcome} |")
    return INTRODUCTION + "\n".join(rows) + "\n"


INTRODUCTION = """# What a fault does to a search

Each fault was played by a server on loopback to each provider, with the default settings (3 attempts, 8 s each, 20 s in all;
0.25 s each for the two slow faults). A search that fails ends with one sentence; the other providers' pages are used, and a
run whose only provider failed can be resumed, and one whose providers all failed is sent out again ([extend.md](extend.md)). Nothing hangs past its deadline.

- *calls*: requests sent, or tried, for one question. Only what may pass is tried again.
- *lost*: calls that were sent and whose answer was lost or could not be used: they may have been billed.
- *pauses*: the longest that is waited between the calls, in seconds; each is drawn anew between nothing (or what
  `Retry-After` asks for) and that.
- `…` stands for the provider's name.

A redirect is never followed: the key, and the question, go to the named host only. The JSON providers use the body whatever its
content type says. Bodies are cut off at 5 MB (DuckDuckGo: 2 MB) after decompression.

Written by `python -m tests.tools.providers.faults`; a test checks that it says what the code does.

| fault | provider | calls | lost | pauses | what comes of it |
| --- | --- | --- | --- | --- | --- |
"""


def main() -> None:
    with FaultServer() as server:
        DOCUMENT.write_text(document(asyncio.run(all_behaviours(server))), "utf-8")


if __name__ == "__main__":
    main()
