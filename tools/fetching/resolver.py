"""The system's resolver, in threads of its own: a name server that takes its time keeps no other work waiting, nor the end of the process."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from contextlib import suppress
from typing import Any

MOST = 32
"""Names resolved at a time; those given up count until the system has given up as well."""
_LOOK_SECONDS = 0.05
_slots = threading.BoundedSemaphore(MOST)


async def resolve(host: str, port: int) -> list[str]:
    """The IP addresses of `host`, each once. Raises `OSError` or `UnicodeError` if it has none.

    The loop's own executor would not do: what cannot be cancelled there fills it up, and `asyncio.run` waits for it.
    """
    slots = _slots
    while not slots.acquire(blocking=False):  # noqa: ASYNC110 (what frees them are threads of no loop)
        await asyncio.sleep(_LOOK_SECONDS)
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[Any]] = loop.create_future()

    def tell(found: list[Any] | None, error: Exception | None) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(found or [])

    def work() -> None:
        found, failure = None, None
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            failure = error
        finally:
            slots.release()
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, found, failure)

    try:
        threading.Thread(target=work, name="webrec-resolver", daemon=True).start()
    except RuntimeError:  # no more threads
        slots.release()
        raise OSError("the name cannot be resolved now") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in await answer))


def _begin_again() -> None:
    global _slots
    _slots = threading.BoundedSemaphore(MOST)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_again)
