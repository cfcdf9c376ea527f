"""A search service on loopback that counts what it is asked and fails as it is told to."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

Plan = Callable[[str, int], str]
"""Query and how often it was asked before → ok, empty, hang, reset, 429, 503, 401, or `429:SECONDS` with Retry-After."""


@dataclass(frozen=True)
class Asked:
    """One request: when it came, for what, and how it was answered."""

    time: float
    query: str
    outcome: str


class SearchServer:
    """Runs in a thread of its own while the `with` block lasts."""

    def __init__(self, plan: Plan = lambda query, before: "ok", latency: float = 0.0) -> None:
        self.asked: list[Asked] = []
        self.port = 0
        self.most_at_once = 0
        self._at_once = 0
        self._plan = plan
        self._latency = latency
        self._counts: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def answered(self) -> Counter[str]:
        """How often each query was answered with pages."""
        return Counter(a.query for a in self.asked if a.outcome in {"ok", "empty"})

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=512))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.01))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            query = parse_qs(urlsplit(head.split()[1].decode()).query)["q"][0]
            outcome = self._plan(query, self._counts[query])
            self._counts[query] += 1
            self.asked.append(Asked(time.monotonic(), query, outcome))
            await asyncio.sleep(3600 if outcome == "hang" else self._latency)
            if outcome == "reset":
                writer.transport.abort()
                return
            status, _, wait = outcome.partition(":")
            body = json.dumps([f"{query} {i}" for i in range(3)] if outcome == "ok" else [])
            more = f"Retry-After: {wait}\r\n" if wait else ""
            writer.write(f"HTTP/1.0 {status if status.isdigit() else 200} X\r\n{more}\r\n{body}".encode())
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._at_once -= 1
            writer.close()
