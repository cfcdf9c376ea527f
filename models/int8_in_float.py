"""Products of 8-bit integers in float32, exact: for CPUs without AVX-512 VNNI, where torch multiplies integers in a plain loop (pytorch#136942).

A sum of up to 1,024 products of two such integers fits into the 24 bits of a float32, whatever the order of its parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from torch import Tensor

from webrec.models.onednn_linear import capabilities

_TOGETHER = 1024
"""Inputs whose products are added in float32; 127² times as many is less than 2²⁴."""

_OUTPUTS = 2048
"""Outputs whose weights are held as floats at a time."""


@cache
def is_needed() -> bool:
    """Whether this is an x86 CPU without VNNI; False where torch is too old to tell."""
    told = capabilities()
    return told.get("architecture") == "x86_64" and not told.get("avx512_vnni", True)


def product(integers: Tensor, weight: Tensor) -> Tensor:
    """`integers · weight`, shapes (rows, inputs), (inputs, outputs), both of -127 to 127; float32 to the nearest."""
    rows, outputs = integers.float(), weight.shape[1]
    result = rows.new_empty(rows.shape[0], outputs)
    for begin in range(0, outputs, _OUTPUTS):
        some = weight[:, begin : begin + _OUTPUTS]
        parts = (rows[:, at] @ some[at].float() for at in _inputs(weight.shape[0]))
        result[:, begin : begin + _OUTPUTS] = total(parts)
    return result


def inputs_together(weight: Tensor) -> list[Tensor]:
    """`weight`, integers of shape (outputs, inputs), as floats and in parts whose products `total` adds up."""
    return [weight[:, at].float().contiguous() for at in _inputs(weight.shape[1])]


def total(parts: Iterator[Tensor]) -> Tensor:
    """The sum of whole numbers, to the nearest float32."""
    first = next(parts)
    exact = None
    for part in parts:
        exact = (first.double() if exact is None else exact).add_(part)
    return first if exact is None else exact.float()


def _inputs(count: int) -> Iterator[slice]:
    return (slice(begin, begin + _TOGETHER) for begin in range(0, count, _TOGETHER))
