"""Threads in which nodes compute, so that the event loop goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
_threads = ThreadPoolExecutor(max_workers=64, thread_name_prefix="webrec-node")


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """`asyncio.to_thread` with more threads than it has on a small machine: those that wait for the backbone compute nothing."""
    context = copy_context()
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_threads, lambda: context.run(function, *args, **kwargs))
