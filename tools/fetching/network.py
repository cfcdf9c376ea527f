"""Connections to the very address that was checked: a name is resolved once, and nobody resolves it again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

import httpcore

from webrec.tools.fetching.addresses import Refused, check_ip
from webrec.tools.fetching.resolver import resolve

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host and port to IP addresses, in the order to try them. Raises `OSError` if there are none."""
Connector = Callable[[str, int, float | None], Awaitable[httpcore.AsyncNetworkStream]]
"""Opens a TCP connection to an IP address and port within some seconds."""

SocketOptions = Iterable[tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]]
_ATTEMPT_SECONDS = 4.0
_MOST_ADDRESSES = 4


async def connect(address: str, port: int, seconds: float | None) -> httpcore.AsyncNetworkStream:
    """A plain TCP connection."""
    return await httpcore.AnyIOBackend().connect_tcp(address, port, timeout=seconds)


class GuardedNetwork(httpcore.AsyncNetworkBackend):
    """Resolves, checks every address that a name stands for, and connects to one of those. No proxies.

    `connect_tcp` raises `Refused` where any of the addresses is not public: a name that stands for a public and a
    private one is a trick. TLS is httpcore's, on top of the stream returned here, with the name that was asked for.
    """

    def __init__(self, resolver: Resolver = resolve, connector: Connector = connect) -> None:
        self._resolver = resolver
        self._connector = connector

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's
        local_address: str | None = None,
        socket_options: SocketOptions | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to `host`. Raises `Refused`, or httpcore's `ConnectError` and `ConnectTimeout`."""
        try:
            addresses = await self._resolver(host, port)
        except (OSError, UnicodeError):
            raise httpcore.ConnectError("the name cannot be resolved") from None
        try:
            checked = [str(check_ip(address)) for address in addresses]
        except ValueError:
            raise Refused("the address is not public") from None  # an address with a zone, or no address
        failure: Exception = httpcore.ConnectError("the name cannot be resolved")
        for address in checked[:_MOST_ADDRESSES]:
            try:
                return await self._connector(address, port, min(timeout or _ATTEMPT_SECONDS, _ATTEMPT_SECONDS))
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's
        socket_options: SocketOptions | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Never."""
        raise Refused("the address is not public")

    async def sleep(self, seconds: float) -> None:
        """Between httpcore's own attempts."""
        await asyncio.sleep(seconds)
