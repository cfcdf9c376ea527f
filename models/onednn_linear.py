"""Linear layers in float32 through oneDNN, exact up to rounding: where torch's own choice leaves half of the processor idle.

On CPUs torch multiplies float32 by MKL, which uses AVX-512 on Intel's processors alone. On others that have it, oneDNN, which torch
contains as well, takes half the time, with the weights as they are (docs/performance.md). bfloat16 goes through oneDNN anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

_EXPECTED_ROWS = 4


class OneDnnLinear(nn.Linear):
    """`y = x Wᵀ + b`, for frozen weights; gradients reach the input."""

    def forward(self, input: Tensor) -> Tensor:
        """Shape (…, inputs) to (…, outputs)."""
        if self.weight.requires_grad or input.dtype != torch.float32 or input.device.type != "cpu":
            return super().forward(input)
        if torch.is_grad_enabled() and input.requires_grad:
            result: Tensor = _Product.apply(input, self.weight, self.bias)  # type: ignore[no-untyped-call]
            return result
        return product(input, self.weight, self.bias)


class _Product(torch.autograd.Function):
    """The product with the gradient of its input."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """`x Wᵀ + b`."""
        ctx.save_for_backward(weight)
        return product(input, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """`∂x = ∂y W`."""
        (weight,) = ctx.saved_tensors
        return product(gradient, weight.t()), None, None


def product(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x Wᵀ + b`: shapes (…, inputs), (outputs, inputs), (outputs,) to (…, outputs). See `is_quicker`.

    `weight` must be contiguous, or its transpose: for others oneDNN has a plain loop.
    """
    result: Tensor = torch.ops.mkldnn._linear_pointwise(input.contiguous(), weight, bias, "none", [], "")
    return result


def blocked(weight: Tensor) -> Tensor:
    """`weight`, shape (outputs, inputs), in oneDNN's own layout for a few rows: what `product` takes as well. See `can_block`."""
    result: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, _EXPECTED_ROWS)
    return result


@cache
def can_block(dtype: torch.dtype) -> bool:
    """Whether this torch has the operators, internal ones, and they take `dtype` on this CPU."""
    there = torch._C._has_mkldnn and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    if not there or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    try:
        blocked(torch.zeros(64, 64, dtype=dtype))
    except RuntimeError:  # bfloat16 needs more of a CPU than AVX2
        return False
    return dtype in {torch.float32, torch.bfloat16}


def is_plain(module: object) -> bool:
    """Whether `module` is a linear layer that nothing was changed in."""
    return type(module) in {nn.Linear, OneDnnLinear}


def to_onednn(model: nn.Module) -> None:
    """Let every plain linear layer of `model`, on a CPU and in float32, multiply by oneDNN, in place, where that is quicker."""
    if not is_quicker():
        return
    for module in model.modules():
        if type(module) is nn.Linear:
            weight = module.weight
            if weight.device.type == "cpu" and weight.dtype == torch.float32 and weight.is_contiguous():
                module.__class__ = OneDnnLinear


def capabilities() -> Mapping[str, Any]:
    """What this CPU has, by torch's names; nothing where torch is too old to tell."""
    told: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return told


@cache
def is_quicker() -> bool:
    """Whether this torch has the operator, an internal one, and this CPU AVX-512 that MKL does not use."""
    told = capabilities()
    there = torch._C._has_mkldnn and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return there and bool(told.get("avx512_f", False)) and "Intel" not in str(told.get("cpu_name", "Intel"))
