"""What is asked of the C library's allocator, so that memory stays bounded and freed tensors are not paid for twice."""

from __future__ import annotations

import ctypes
import os
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Their names in glibc's malloc.h."""

LIMITS = {
    "MALLOC_ARENA_MAX": (_M_ARENA_MAX, 1),
    "MALLOC_MMAP_THRESHOLD_": (_M_MMAP_THRESHOLD, 16 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": (_M_TRIM_THRESHOLD, 64 * 2**20),
}
"""By the variable that sets it for a new process: glibc's option, and its value."""


def limit_allocator() -> None:
    """Let all threads allocate from one arena, and give what is large back to the system when it is freed.

    glibc's default of eight arenas a core keeps what each thread's tensors once took, and it soon keeps tensors of up to 32 MB as well.
    Once the limit for large blocks is set, glibc no longer adapts the one for trimming either: every freed tensor would go back to the system
    and its pages would be made anew for the next one, which takes a good part of a forward pass (docs/performance.md).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:  # other C libraries have none
        return
    for variable, (option, value) in LIMITS.items():
        if variable not in os.environ:
            mallopt(option, value)
