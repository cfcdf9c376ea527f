"""Products with weights of 4 bits on CPUs: many times the speed of float32 for one token, approximate.

32 inputs in a row share a scale and an offset, as in the GGUF format Q4_1: weights that come from there lose nothing but the rounding of
those two, and of the inputs, to bfloat16.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

GROUP = 32
LARGEST = 15

_MIDDLE = 8
"""The operator takes this from each 4-bit number before it scales it."""
_OUTPUTS_TOGETHER = 16
_SMALLEST = 1e-12


class Int4Product:
    """`y = x Wᵀ + b`: W in 4 bits, kept apart from the module that it comes from."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        """From a float weight of shape (outputs, inputs); see `fits`."""
        integers, scale, lowest = grouped(weight.detach().float())
        self._weight = torch._convert_weight_to_int4pack_for_cpu(integers, 1)
        pairs = torch.stack([scale, lowest + _MIDDLE * scale], -1)  # (outputs, groups, 2)
        self._scales = pairs.transpose(0, 1).to(torch.bfloat16).contiguous()
        self._bias = None if bias is None else bias.detach().float()

    def __call__(self, inputs: Tensor) -> Tensor:
        """Shape (…, inputs) to (…, outputs), float32."""
        rows = inputs.reshape(-1, inputs.shape[-1]).to(torch.bfloat16)
        product = torch._weight_int4pack_mm_for_cpu(rows, self._weight, GROUP, self._scales).float()
        if self._bias is not None:
            product += self._bias
        return product.view(*inputs.shape[:-1], -1)


def grouped(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Numbers of 0 to 15, shape of `weight`; scale and lowest weight of each group, shape (outputs, inputs / 32)."""
    groups = weight.view(len(weight), -1, GROUP)
    lowest = groups.amin(-1)  # aminmax, and a division by the scale, take four times as long
    scale = ((groups.amax(-1) - lowest) / LARGEST).clamp_min_(_SMALLEST)
    integers = (groups - lowest[..., None]).mul_(scale.reciprocal()[..., None]).round_().to(torch.int32)
    return integers.flatten(1), scale, lowest


def fits(weight: Tensor) -> bool:
    """Whether the operators take a weight of this shape."""
    outputs, inputs = weight.shape
    return outputs % _OUTPUTS_TOGETHER == 0 and inputs % GROUP == 0


@cache
def is_fast() -> bool:
    """Whether this torch has the operators, internal ones, and this CPU more for them than a plain loop."""
    there = hasattr(torch, "_convert_weight_to_int4pack_for_cpu") and hasattr(torch, "_weight_int4pack_mm_for_cpu")
    return there and torch.backends.cpu.get_cpu_capability() in {"AVX2", "AVX512"}
