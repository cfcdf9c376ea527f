"""What is asked of those who allocate, the C library, MKL and oneDNN, so that memory stays bounded and freed tensors are not paid for twice."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Their names in glibc's malloc.h."""

LIMITS = {
    "MALLOC_ARENA_MAX": (_M_ARENA_MAX, 1),
    "MALLOC_MMAP_THRESHOLD_": (_M_MMAP_THRESHOLD, 16 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": (_M_TRIM_THRESHOLD, 64 * 2**20),
}
"""By the variable that sets it for a new process: glibc's option, and its value."""

MKL_BUFFERS = "MKL_DISABLE_FAST_MM"
"""MKL reads it when it first multiplies: 1 lets it free the buffers of a product when that is done."""

ONEDNN_KEPT = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64", "LRU_CACHE_CAPACITY": "1"}
"""Compiled products that oneDNN keeps, and those that torch's layer above it keeps for each thread; a thousand each if not told.

Each prompt of another length brings some, of up to 0.6 MB. What torch's layer does not find, oneDNN still has.
"""

ENVIRONMENT = {MKL_BUFFERS: "1", **ONEDNN_KEPT, **{variable: str(value) for variable, (_, value) in LIMITS.items()}}
"""What `limit_allocator` asks, as variables for a new process."""


_limited = False


def is_limited() -> bool:
    """Whether this process asked for a limit for trimming: below it, what was freed stays with the process."""
    return _limited or "MALLOC_TRIM_THRESHOLD_" in os.environ


def limit_allocator() -> None:
    """Let all threads allocate from one arena, give what is large back to the system when it is freed, and keep no buffers of products.

    glibc's default of eight arenas a core keeps what each thread's tensors once took, and it soon keeps tensors of up to 32 MB as well.
    Once the limit for large blocks is set, glibc no longer adapts the one for trimming either: every freed tensor would go back to the system
    and its pages would be made anew for the next one, which takes a good part of a forward pass (docs/performance.md). MKL keeps buffers
    for every thread that ever multiplied, and nodes compute in up to 64. oneDNN keeps a compiled product for each shape, and
    reads how many when it first multiplies.
    """
    global _limited
    _limited = True
    for variable in (MKL_BUFFERS, *ONEDNN_KEPT):
        os.environ.setdefault(variable, ENVIRONMENT[variable])
    mallopt = _of_c("mallopt")
    if mallopt is None:
        return
    for variable, (option, value) in LIMITS.items():
        if variable not in os.environ:
            mallopt(option, value)


def give_back() -> None:
    """Give free memory back to the system, from the middle of the heap as well; what is allocated next pays for its pages again."""
    trim = _of_c("malloc_trim")
    if trim is not None:
        trim(0)


def _of_c(name: str) -> Any | None:
    """A function of glibc; other C libraries have none of these."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
