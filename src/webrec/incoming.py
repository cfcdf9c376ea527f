"""The requests of `arecommend_many`: of any form, from any iterable, read no faster than they are worked on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from itertools import count, islice
from typing import Any

from webrec.errors import InputError
from webrec.nodes.schema import RecommendInput

Request = RecommendInput | Mapping[str, Any] | tuple[Iterable[str], Iterable[str]]
"""Of one user: `(history, candidates)`, or both by name; other names of a mapping are not looked at."""

_END = object()


def titles_of(request: object) -> tuple[Any, Any]:
    """History and candidates of a request, not checked yet. Raises `InputError` for what has no form of a request."""
    if isinstance(request, RecommendInput):
        return request.history, request.candidates
    if isinstance(request, Mapping):
        return request.get("history"), request.get("candidates")
    if isinstance(request, Iterable) and not isinstance(request, str | bytes | set | frozenset):
        parts = list(islice(request, 3))
        if len(parts) == 2:
            return parts[0], parts[1]
    size = f" of {len(request)}" if isinstance(request, tuple | list) else ""
    raise InputError(
        f"it is {type(request).__name__}{size}; give (history, candidates), a RecommendInput, or a mapping with both"
    )


class Incoming:
    """Requests with their places, one after the other. What an async source has yet to make is waited for beside the work.

    Raises `InputError` for what is no iterable, or is one request.
    """

    def __init__(self, requests: object) -> None:
        self._now: Iterator[object] = iter(())
        self._later: AsyncIterator[object] | None = None
        if isinstance(requests, AsyncIterable):
            self._later = aiter(requests)
        elif isinstance(requests, Iterable) and not isinstance(requests, str | bytes | Mapping | RecommendInput):
            self._now = iter(requests)
        else:
            raise InputError(
                f"requests: it is {type(requests).__name__}; give an iterable of (history, candidates), one for each user"
            )
        self._places = count()
        self.awaited: set[asyncio.Task[object]] = set()
        """What the next request of an async source comes from."""

    def ready(self, most: int) -> Iterator[tuple[int, object]]:
        """At most `most` requests that are there; of an async source the next one is then awaited."""
        for request in islice(self._now, most):
            yield next(self._places), request
        while self._later is not None and most > 0:
            if not self.awaited:
                self.awaited = {asyncio.create_task(_next(self._later))}
            (coming,) = self.awaited
            if not coming.done():
                return
            self.awaited = set()
            if (request := coming.result()) is _END:
                self._later = None
                return
            most -= 1
            yield next(self._places), request


async def _next(source: AsyncIterator[object]) -> object:
    return await anext(source, _END)
