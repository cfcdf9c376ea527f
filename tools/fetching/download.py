"""One page or robots.txt over HTTP: redirects checked one by one, few bytes, known types."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass

import httpcore
import httpx

from webrec.tools.fetching.addresses import page_url, port_of
from webrec.tools.fetching.network import Connector, GuardedNetwork, Resolver, connect
from webrec.tools.fetching.resolver import resolve
from webrec.tools.providers.bounded_body import read_bounded

AGENT = "webrec"
"""Our name in robots.txt and in every request."""
REDIRECTS = 5
_REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})


class NotOk(Exception):
    """The server answered with another status than 200; `status` is it."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the server answered HTTP {status}")
        self.status = status


class TooManyRedirects(Exception):
    """More than `REDIRECTS` in a row, or one that leads nowhere."""


class WrongType(Exception):
    """The answer is no text of the types that were asked for."""


@dataclass(frozen=True, slots=True)
class Redirect:
    """The address that the server sends us to, as it stands in its answer."""

    location: str


@dataclass(frozen=True, slots=True)
class Download:
    """An answer's body, decompressed, and the address it came from."""

    url: httpx.URL
    body: bytes
    media_type: str
    charset: str | None


class Downloader:
    """Connections of its own: no proxy, no cookies, no environment variable, certificates always checked.

    `resolver` and `connector` are there for tests; everything that they lead to is checked in between.
    """

    def __init__(self, max_bytes: int, resolver: Resolver = resolve, connector: Connector = connect) -> None:
        self._max_bytes = max_bytes
        self._network = GuardedNetwork(resolver, connector)
        self._pool: httpcore.AsyncConnectionPool | None = None
        self._certificates: ssl.SSLContext | None = None

    async def get(self, url: httpx.URL, types: frozenset[str], max_bytes: int | None = None) -> Download | Redirect:
        """What is at `url`, which `page_url` made; a redirect is returned, not followed.

        Raises `Refused`, `NotOk`, `WrongType`, `TooManyRedirects` (one without address), `bounded_body.TooLarge` and
        `Unreadable`, and httpcore's errors of network and protocol. Sets no deadline.
        """
        limit = min(max_bytes or self._max_bytes, self._max_bytes)
        pool = await self._open()
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=port_of(url), target=url.raw_path)
        headers = [
            (b"Host", url.netloc),
            (b"User-Agent", AGENT.encode()),
            (b"Accept", b"text/html, application/xhtml+xml, text/plain;q=0.8"),
            (b"Accept-Encoding", b"gzip"),
        ]
        async with pool.stream(b"GET", target, headers=headers) as response:
            answered = httpx.Headers(response.headers)
            if response.status in _REDIRECT_STATUSES:
                if "location" not in answered:
                    raise TooManyRedirects
                return Redirect(answered["location"])
            if response.status != 200:
                raise NotOk(response.status)
            media_type, charset = content_type(answered.get("content-type", ""))
            if media_type not in types:
                raise WrongType(media_type or "without a type")
            body = await read_bounded(response.aiter_stream(), answered.get("content-encoding", ""), limit)
            return Download(url, body, media_type, charset)

    async def aclose(self) -> None:
        """Close all connections."""
        if self._pool is not None:
            await self._pool.aclose()
            self._pool = None

    async def _open(self) -> httpcore.AsyncConnectionPool:
        if self._certificates is None:
            self._certificates = await asyncio.to_thread(httpx.create_ssl_context, trust_env=False)
        if self._pool is None:
            # Without a bound of its own: a call that is cut off as it connects leaves its connection in the pool.
            self._pool = httpcore.AsyncConnectionPool(
                ssl_context=self._certificates,
                max_connections=None,
                max_keepalive_connections=20,
                network_backend=self._network,
            )
        return self._pool


def redirected(url: httpx.URL, redirect: Redirect) -> httpx.URL:
    """Where a redirect leads, checked as any address (`page_url`). Raises `Refused`, `TooManyRedirects` if malformed."""
    try:
        return page_url(str(url.join(redirect.location)))
    except (httpx.InvalidURL, ValueError, UnicodeError):
        raise TooManyRedirects from None


def content_type(header: str) -> tuple[str, str | None]:
    """Media type in lower case, and the charset if it names one."""
    kind, *parameters = header.split(";")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip():
            return kind.strip().lower(), value.strip().strip("\"'")
    return kind.strip().lower(), None
