"""A metered provider of the loopback server, and a process that asks it: `python worker.py` with a job as JSON on standard input."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from webrec.errors import SearchError
from webrec.tools.config import LimitsConfig, SearchConfig
from webrec.tools.page import Page
from webrec.tools.searching import retry
from webrec.tools.searching.searcher import SearchAnswer, ask
from webrec.tools.searching.store import SearchStore


class Settings(SearchConfig, LimitsConfig):
    """As a run context holds them."""


@dataclass(frozen=True)
class Loopback:
    """GET /?q=query on loopback: a JSON list of titles."""

    port: int
    name: str = "loopback"
    cost_units: float = 1.0
    query_limit: int | None = None
    options: Mapping[str, str | int | float | bool] = field(default_factory=dict)

    async def search(self, query: str, limit: int) -> list[Page]:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            raise SearchError("loopback could not be reached", retry=True) from None
        try:
            writer.write(f"GET /?q={quote(query)} HTTP/1.0\r\n\r\n".encode())
            answer = await reader.read()
        except OSError:
            answer = b""
        finally:
            writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        status = head[9:12].decode()
        if status == "200":
            titles = json.loads(body)
            return [Page(title=t, snippet=f"about {t}", provider=self.name, score=0.5) for t in titles][:limit]
        if not status:
            raise SearchError("loopback broke the connection", retry=True, lost=True)
        _, found, wait = head.partition(b"Retry-After: ")
        raise SearchError(
            f"loopback answered {status}",
            retry=status in {"429", "503"},
            retry_after=float(wait.split(b"\r\n")[0]) if found else None,
        )


async def ask_all(
    provider: Loopback, queries: list[str], settings: Settings, store: SearchStore
) -> list[SearchAnswer | BaseException]:
    """All at once; the limits do the queueing."""
    return await asyncio.gather(*(ask(provider, q, 5, settings, store) for q in queries), return_exceptions=True)


def main() -> None:
    retry.FIRST_PAUSE = 0.02
    job: dict[str, Any] = json.loads(sys.stdin.readline())
    store = SearchStore(job["store"])
    provider = Loopback(job["port"], cost_units=job.get("cost_units", 1.0))
    if job.get("wait"):  # until all have been started
        print("ready", flush=True)
        sys.stdin.readline()
    answers = asyncio.run(ask_all(provider, job["queries"], Settings(**job.get("settings", {})), store))
    lines = [
        [type(a).__name__, str(a)]
        if isinstance(a, BaseException)
        else [a.pages[0].title if a.pages else "", a.attempts]
        for a in answers
    ]
    print(json.dumps(lines), flush=True)


if __name__ == "__main__":
    main()
