"""A name server that takes its time: nobody else waits for it, and neither does the end of the process."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from typing import Any

import pytest

from webrec.tools.fetching import resolver


async def test_addresses_each_once() -> None:
    assert await resolver.resolve("127.0.0.1", 80) == ["127.0.0.1"]
    with pytest.raises(OSError, match=r".+"):
        await resolver.resolve("no-such-host.invalid", 80)
    with pytest.raises((OSError, UnicodeError)):
        await resolver.resolve("a" * 70 + ".example", 80)


def test_a_slow_name_keeps_neither_the_loops_threads_nor_its_end_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()

    def slow(host: str, *_: Any, **__: Any) -> list[Any]:
        if host == "slow.example":
            go.wait(30)
        return [(0, 0, 0, "", ("8.8.8.8", 80))]

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    monkeypatch.setattr(resolver, "MOST", 2)
    resolver._begin_again()

    async def ask() -> list[str]:
        for _ in range(2):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await resolver.resolve("slow.example", 80)
        assert await asyncio.to_thread(lambda: 1) == 1
        with pytest.raises(TimeoutError):  # both places are taken by names that nobody waits for any more
            async with asyncio.timeout(0.2):
                await resolver.resolve("quick.example", 80)
        go.set()
        async with asyncio.timeout(5):
            return await resolver.resolve("quick.example", 80)

    try:
        began = time.monotonic()
        assert asyncio.run(ask()) == ["8.8.8.8"]
        assert time.monotonic() - began < 10
    finally:
        go.set()
        monkeypatch.undo()
        resolver._begin_again()
