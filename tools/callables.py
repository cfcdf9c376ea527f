"""Whether what somebody handed in can be called the way it will be."""

from __future__ import annotations

import inspect


def takes(function: object, count: int) -> bool:
    """Whether `function` can be called with `count` arguments by place; yes where that cannot be told."""
    if not callable(function):
        return False
    try:
        # A wrapper may well take other arguments than what it wraps.
        signature = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):  # of functions written in C
        return True
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True
