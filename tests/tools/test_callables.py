"""Whether something can be called: never no for what can."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from webrec.tools.callables import takes


class Callable:
    def __call__(self, one: int, two: int = 2) -> None: ...


def three(one: int, two: int, three: int) -> None: ...


@functools.wraps(three)
def wrapper(one: int, two: int) -> None: ...


@pytest.mark.parametrize(
    ("thing", "counts"),
    [
        (3, set()),
        (None, set()),
        (Callable(), {1, 2}),
        (Callable, {0}),
        (three, {3}),
        (wrapper, {2}),
        (functools.partial(three, 1), {2}),
        (lambda *given: given, {0, 1, 2, 3}),
        (lambda *, name: name, set()),
        (max, {0, 1, 2, 3}),  # cannot be told
    ],
)
def test_takes(thing: Any, counts: set[int]) -> None:
    assert {count for count in range(4) if takes(thing, count)} == counts
