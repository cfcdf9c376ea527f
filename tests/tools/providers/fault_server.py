"""A server on loopback that plays every fault for every provider: the first part of a path names the fault."""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from .answers import FINE, NOTHING, PROVIDERS, with_results

HTML = b"<html><head><title>Welcome</title></head><body><p>Please log in.</p></body></html>"
RIDDLE = b"<html><body><form id='challenge-form'><div class='anomaly-modal__title'>Robots?</div></form></body></html>"
EMPTY_RESULT = b'<html><body><div class="result__body"><h2></h2></div></body></html>'
FIFTY_MB = 50_000_000

Reply = tuple[int, dict[str, str], bytes]
STATUSES: dict[str, Reply] = {
    "400": (400, {}, b"{}"),
    "401": (401, {}, b"{}"),
    "403": (403, {}, b"{}"),
    "404": (404, {}, b"no"),
    "429, no Retry-After": (429, {}, b"{}"),
    "429, Retry-After: 2": (429, {"Retry-After": "2"}, b"{}"),
    "429, Retry-After: 3600": (429, {"Retry-After": "3600"}, b"{}"),
    "500": (500, {}, b"oops"),
    "501": (501, {}, b"oops"),
    "502": (502, {}, b"oops"),
    "202 with a riddle": (202, {}, RIDDLE),
    "redirect to 169.254.169.254": (302, {"Location": "http://169.254.169.254/latest/meta-data/"}, b""),
    "redirect to file:": (307, {"Location": "file:///etc/passwd"}, b""),
}
BODIES: dict[str, Callable[[str], bytes]] = {
    "nothing found": NOTHING.__getitem__,
    "HTML instead of JSON, another page": lambda _: HTML,
    "empty body": lambda _: b"",
    "missing fields": lambda p: HTML if p == "duckduckgo" else b"{}",
    "nulls": lambda p: b"\0\0\0\0" if p == "duckduckgo" else with_results(p, None),
    "results of nulls": lambda p: (
        EMPTY_RESULT if p == "duckduckgo" else with_results(p, [None, {"title": None, "url": None}])
    ),
    "wrong types": lambda p: b"[1, 2]" if p == "duckduckgo" else with_results(p, {"title": 3}),
    "a list instead of an object": lambda _: b"[1, 2]",
    "100,000 brackets": lambda _: b"[" * 100_000,
    "no engine answered": lambda _: b'{"results": [], "unresponsive_engines": [["a", "timeout"], ["b", "CAPTCHA"]]}',
    "a byte order mark before the answer": lambda p: b"\xef\xbb\xbf" + FINE[p],
    "text that is not UTF-8": lambda p: FINE[p].replace(b"Wool", b"W\xffol"),
}


class FaultServer:
    """Runs in a thread of its own while the `with` block lasts."""

    def __init__(self) -> None:
        self.asked: Counter[tuple[str, str]] = Counter()
        """Requests by fault and provider."""
        self.headers: list[str] = []
        self.requests: list[tuple[str, bytes]] = []
        """Request line and body."""
        self.trapped = 0
        """Connections that a redirect led to."""
        self.connections = 0
        self.port = self.trap_port = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def url(self, fault: str) -> str:
        """The base address under which `fault` is played."""
        return f"http://127.0.0.1:{self.port}/{fault.encode().hex()}"

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
        start = asyncio.start_server
        servers = [
            self._loop.run_until_complete(start(handler, "127.0.0.1", 0, backlog=512))
            for handler in (self._serve, self._trap)
        ]
        self.port, self.trap_port = (server.sockets[0].getsockname()[1] for server in servers)
        self._ready.set()
        self._loop.run_forever()
        for server in servers:
            server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.05))
        self._loop.close()

    async def _trap(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.trapped += 1
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await self._answer(reader, writer):
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; whether the connection stays open."""
        line, _, head = (await reader.readuntil(b"\r\n\r\n")).decode().partition("\r\n")
        fields = {k.lower(): v for k, _, v in (field.partition(": ") for field in head.splitlines())}
        body = await reader.readexactly(int(fields.get("content-length") or 0))
        method, target, _ = line.split()
        _, code, path = target.split("/", 2)
        fault = bytes.fromhex(code).decode()
        provider = {"web": "brave", "html": "duckduckgo"}.get(
            path.partition("/")[0], "tavily" if method == "POST" else "searxng"
        )
        assert provider in PROVIDERS
        before = self.asked[fault, provider]
        self.asked[fault, provider] += 1
        self.headers.append(head)
        self.requests.append((line, body))
        if fault == "timeout":
            await reader.read()  # until the client is gone
            return False
        if fault == "late":
            await asyncio.sleep(0.3)
        if fault == "connection closed before the answer":
            return False
        if fault == "503 once, then fine" and not before:
            return _send(writer, 503, {}, b"")
        if fault in STATUSES:
            return _send(writer, *STATUSES[fault])
        if fault == "redirect loop":
            return _send(writer, 302, {"Location": target}, b"")
        if fault == "redirect to 127.0.0.1":
            return _send(writer, 302, {"Location": f"http://127.0.0.1:{self.trap_port}/"}, b"")
        fine = FINE[provider]
        if fault == "slow drip":
            _head(writer, 200, {"Content-Length": str(len(fine))})
            for byte in fine:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(1)
        if fault == "reset in mid-body":
            _head(writer, 200, {"Content-Length": str(len(fine))})
            writer.write(fine[:100])
            await writer.drain()
            await asyncio.sleep(0.05)
            _reset(writer)
            return False
        if fault == "50 MB body":
            _head(writer, 200, {"Content-Length": str(FIFTY_MB)})
            for _ in range(500):
                writer.write(b" " * (FIFTY_MB // 500))
                await writer.drain()
        if fault == "gzip bomb (50 MB in 49 kB)":
            return _send(writer, 200, {"Content-Encoding": "gzip"}, gzip.compress(b" " * FIFTY_MB))
        if fault == "gzip that is none":
            return _send(writer, 200, {"Content-Encoding": "gzip"}, fine)
        if fault == "wrong content type":
            return _send(writer, 200, {"Content-Type": "image/png"}, fine)
        if fault == "gzip":
            return _send(writer, 200, {"Content-Encoding": "gzip"}, gzip.compress(fine))
        content = BODIES[fault](provider) if fault in BODIES else fine
        return _send(writer, 200, {"Content-Type": _type(content)}, content)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close without a goodbye (RST)."""
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _type(content: bytes) -> str:
    return "text/html; charset=utf-8" if content[:1] == b"<" else "application/json"


def _head(writer: asyncio.StreamWriter, status: int, headers: dict[str, Any]) -> None:
    lines = "".join(f"{name}: {value}\r\n" for name, value in {"Set-Cookie": "a=b; Path=/", **headers}.items())
    writer.write(f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode())


def _send(writer: asyncio.StreamWriter, status: int, headers: dict[str, str], content: bytes) -> bool:
    _head(writer, status, {**headers, "Content-Length": len(content)})
    writer.write(content)
    return True
