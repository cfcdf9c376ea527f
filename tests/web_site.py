"""A web site on loopback under made-up public names and addresses, and a log of who was really asked."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpcore

from webrec.tools.fetching.fetch import PageFetcher
from webrec.tools.fetching.fetched_page import FetchedPage
from webrec.tools.fetching.network import connect

PUBLIC = "93.184.215.14"
PARAGRAPHS = [
    "This soap is mild, it cleans well and it leaves no scent on the hands of those who wash often.",
    "It is made of olive oil in a small factory by the sea, where it dries for nine months before it is sold.",
    "Buyers report that one piece lasts for about two months, which is more than others of this price.",
]
ARTICLE = (
    "<html><head><title>A mild soap</title><meta property='article:published_time' content='2013-05-06'></head>"
    "<body><nav>Home Shop Login</nav><article>" + "".join(f"<p>{p}</p>" for p in PARAGRAPHS) + "</article>"
    "<script>alert('no')</script></body></html>"
)


class Handler(BaseHTTPRequestHandler):
    """What a route is given: answer, and the usual."""

    server: Any
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.log.append((self.headers["Host"], self.path, dict(self.headers)))
        route = self.server.routes.get(self.path)
        if route is None:
            self.answer("nothing here", status=404)
        elif isinstance(route, str):
            self.answer(route)
        else:
            route(self)

    def answer(
        self, body: str | bytes, status: int = 200, kind: str = "text/html; charset=utf-8", **headers: str
    ) -> None:
        data = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        if kind:
            self.send_header("Content-Type", kind)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


Route = str | Callable[[Handler], None]


class Site:
    """`routes`: path to HTML, or to what answers. Every name resolves to `addresses` or else to a public address."""

    def __init__(self, routes: Mapping[str, Route], tls: ssl.SSLContext | None = None) -> None:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.server.routes = dict(routes)  # type: ignore[attr-defined]
        self.server.log = self.log = []  # type: ignore[attr-defined]
        self.resolved: list[str] = []
        self.connected: list[tuple[str, int]] = []
        self.addresses: dict[str, list[list[str]]] = {}
        """What a name resolves to, time after time; the last one stays."""
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def paths(self) -> list[str]:
        """What was asked for, robots.txt apart."""
        return [path for _, path, _ in self.log if path != "/robots.txt"]

    async def resolve(self, host: str, port: int) -> list[str]:
        self.resolved.append(host)
        turns = self.addresses.get(host, [[PUBLIC]])
        return turns.pop(0) if len(turns) > 1 else turns[0]

    async def connect(self, address: str, port: int, seconds: float | None) -> httpcore.AsyncNetworkStream:
        self.connected.append((address, port))
        return await connect("127.0.0.1", self.server.server_port, seconds)

    def fetcher(self, *, seconds: float = 5.0, max_bytes: int = 300_000, concurrency: int = 4) -> PageFetcher:
        return PageFetcher(
            seconds=seconds,
            max_bytes=max_bytes,
            concurrency=concurrency,
            resolver=self.resolve,
            connector=self.connect,
        )

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def redirect(to: str, status: int = 302) -> Callable[[Handler], None]:
    return lambda handler: handler.answer("", status=status, Location=to)


def drip(handler: Handler) -> None:
    """A byte every so often, for ever."""
    handler.send_response(200)
    handler.send_header("Content-Type", "text/html")
    handler.send_header("Connection", "close")
    handler.end_headers()
    for _ in range(200):
        handler.wfile.write(b"<p>")
        handler.wfile.flush()
        time.sleep(0.05)


def huge(handler: Handler) -> None:
    """50 MB without a stated length."""
    handler.send_response(200)
    handler.send_header("Content-Type", "text/html")
    handler.send_header("Connection", "close")
    handler.end_headers()
    for _ in range(50):
        handler.wfile.write(b"x" * 1_000_000)


def bomb(handler: Handler) -> None:
    """100 MB in 100 kB."""
    handler.answer(gzip.compress(b" " * 100_000_000), Content_Encoding="gzip")


def cut_off(handler: Handler) -> None:
    """Fewer bytes than promised."""
    handler.send_response(200)
    handler.send_header("Content-Type", "text/html")
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    handler.wfile.write(b"<p>start")
    handler.close_connection = True


def not_http(handler: Handler) -> None:
    """Another protocol's greeting."""
    handler.wfile.write(b"SSH-2.0-OpenSSH\r\n")
    handler.close_connection = True


def plain(handler: Handler) -> None:
    """A page that needs no extraction, which is quicker."""
    handler.answer(PARAGRAPHS[0], kind="text/plain")


@contextlib.asynccontextmanager
async def fetching(routes: dict[str, Route], **settings: float) -> AsyncIterator[tuple[Site, PageFetcher]]:
    site = Site(routes)
    fetcher = site.fetcher(**settings)  # type: ignore[arg-type]
    try:
        yield site, fetcher
    finally:
        await fetcher.aclose()
        site.close()


async def fetched(routes: dict[str, Route], url: str = "http://site.example/page", **settings: float) -> FetchedPage:
    async with fetching(routes, **settings) as (_, fetcher):
        return await fetcher.fetch(url)


async def fetch_all(fetcher: PageFetcher, urls: Sequence[str]) -> list[FetchedPage]:
    """One page for each address, in their order."""
    return await asyncio.gather(*map(fetcher.fetch, urls))
