"""What a site's robots.txt allows (RFC 9309), read by Protego; asked for once per site."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import httpcore
import httpx

from webrec.tools.fetching.addresses import Refused
from webrec.tools.fetching.download import AGENT, Downloader, NotOk, Redirect, TooManyRedirects, WrongType, redirected
from webrec.tools.providers.bounded_body import TooLarge, Unreadable

if TYPE_CHECKING:
    from protego import Protego

ROBOTS_BYTES = 512_000
"""RFC 9309 asks to read at least 500 KiB."""
MOST_RULES, MOST_NAMES = 500_000, 2_000
"""Rules that a reader has to hold, each of a group once for each of its crawlers, and crawlers of one group: a second of computing."""
_REDIRECTS = 5
_TYPES = frozenset({"text/plain", "text/html", "application/octet-stream", ""})

Rules = Callable[[str], bool]


class RobotsUnreadable(Exception):
    """The site has a robots.txt, or may have, and it could not be read."""


def _everything(_: str) -> bool:
    return True


def _nothing(_: str) -> bool:
    raise RobotsUnreadable


class RobotsFiles:
    """The rules of every site asked for, kept as long as this object."""

    def __init__(self, downloader: Downloader) -> None:
        self._downloader = downloader
        self._rules: dict[str, asyncio.Future[Rules]] = {}

    async def allow(self, url: httpx.URL) -> bool:
        """Whether our name may fetch `url`.

        No file (any 4xx) allows everything. A server that fails (5xx, no answer, too long) allows nothing, as the RFC
        says: `RobotsUnreadable` is raised. Raises `Refused` if the site's address is not public.
        """
        site = f"{url.scheme}://{url.netloc.decode('ascii')}"
        while (rules := self._rules.get(site)) is not None:
            await asyncio.wait([rules])
            if not rules.cancelled():  # whoever was asking for it was not cut off
                return rules.result()(str(url))
            if self._rules.get(site) is rules:
                del self._rules[site]
        rules = self._rules[site] = asyncio.get_running_loop().create_future()
        await self._settle(rules, self._fetch(url))
        return rules.result()(str(url))

    async def _settle(self, rules: asyncio.Future[Rules], fetching: Awaitable[Rules]) -> None:
        try:
            rules.set_result(await fetching)
        except Refused as error:
            rules.set_exception(error)
        except BaseException:
            rules.cancel()
            raise

    async def _fetch(self, url: httpx.URL) -> Rules:
        address = url.copy_with(path="/robots.txt", query=None)
        try:
            for _ in range(_REDIRECTS + 1):
                answer = await self._downloader.get(address, _TYPES, ROBOTS_BYTES)
                if not isinstance(answer, Redirect):
                    return await asyncio.to_thread(_parse, answer.body)
                address = redirected(address, answer)
        except NotOk as error:
            return _everything if 400 <= error.status < 500 else _nothing
        except (TooManyRedirects, WrongType):
            return _everything  # "unavailable" in the RFC: there is no such file
        except (
            httpcore.NetworkError,
            httpcore.TimeoutException,
            httpcore.ProtocolError,
            TooLarge,
            Unreadable,
            OSError,
        ):
            return _nothing
        return _everything


def _parse(body: bytes) -> Rules:
    from protego import Protego

    text = body.decode("utf-8-sig", "replace")
    if _too_much(text):
        return _nothing
    rules: Protego = Protego.parse(text)
    return lambda url: bool(rules.can_fetch(url, AGENT))


def _too_much(text: str) -> bool:
    """Whether a group has so many names, or all so many rules, that reading them is an attack. What is doubtful ends no group."""
    rules = names = own = 0
    ended = False
    for line in map(str.strip, text.splitlines()):
        if not line or line.startswith("#"):
            continue
        if line[:4].lower() == "user":
            if ended:
                rules, names, own, ended = rules + names * own, 0, 0, False
            names += 1
        else:
            own += 1
            ended = ended or line.partition(":")[0].strip().lower() in {"allow", "disallow"}
        if names > MOST_NAMES or rules + names * own > MOST_RULES:
            return True
    return False
