"""One HTTP client for each event loop, so that connections to a service are used again; closed with its loop."""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from webrec.errors import SearchError


@dataclass
class _Client:
    http: httpx.AsyncClient
    users: int = 0
    retired: bool = False


_keepers: dict[asyncio.AbstractEventLoop, AsyncGenerator[_Client, None]] = {}


@asynccontextmanager
async def shared_client() -> AsyncIterator[httpx.AsyncClient]:
    """The running loop's client: no redirects, no cookies, no time limit of its own (the caller sets it).

    It goes through the proxy that the environment names (HTTPS_PROXY, NO_PROXY, …), because behind a company's proxy
    nothing else works. A key stays safe: over https a proxy passes on encrypted bytes for the host that we named.

    Raises `SearchError` if the environment's proxy or certificate settings cannot be used.
    """
    client = await _current()
    client.users += 1
    try:
        yield client.http
    except asyncio.CancelledError:
        # A call that is cut off just after it connected leaves its connection in httpx's pool for good. So nobody new
        # gets this client, and the last to leave closes it with all that it holds.
        client.retired = True
        raise
    finally:
        client.users -= 1
        if client.retired and not client.users:
            await client.http.aclose()


async def _current() -> _Client:
    loop = asyncio.get_running_loop()
    keeper = _keepers.get(loop)
    if keeper is None:
        for closed in [other for other in list(_keepers) if other.is_closed()]:
            _keepers.pop(closed, None)
        keeper = _keepers[loop] = _keep(loop)
    return await anext(keeper)


async def _keep(loop: asyncio.AbstractEventLoop) -> AsyncGenerator[_Client, None]:
    # A generator, because a loop that ends in an orderly way (asyncio.run) closes the open ones: the only sign it gives.
    client: _Client | None = None
    try:
        while True:
            if client is None or client.retired:
                client = _Client(_new_client())
            yield client
    finally:
        _keepers.pop(loop, None)
        if client is not None:
            await client.http.aclose()


def _new_client() -> httpx.AsyncClient:
    try:
        return httpx.AsyncClient(
            verify=_certificates(),
            follow_redirects=False,
            timeout=None,  # noqa: S113 - the caller's
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20, keepalive_expiry=30),
            headers={"User-Agent": "webrec", "Accept-Encoding": "gzip"},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )
    except (ImportError, ValueError, OSError, httpx.InvalidURL) as error:
        raise SearchError(
            f"the environment's proxy or certificate settings cannot be used ({type(error).__name__}); correct "
            "HTTPS_PROXY, HTTP_PROXY, ALL_PROXY or SSL_CERT_FILE"
        ) from None


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Read once: it takes longer than a request."""
    return httpx.create_ssl_context()
