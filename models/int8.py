"""Linear layers in 8 bits for CPUs: several times the speed of float32, approximate.

Weights have a scale for each output, inputs one for each token, and products of integers are exact: a token's product is the same whatever is computed beside it.
What comes in may differ in its last digits between one pass and another (attention sums in another order when candidates are packed), and rounding to 8 bits can make more of that. The
gradient of the inputs is computed the same way (as SwitchBack, Wortsman et al. 2023); the weights have none.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from webrec.models import int8_in_float

LEVELS = 127
BLOCK = 512
"""Rows computed at a time: integers and floats of a block stay in the CPU's cache."""

_SMALLEST = 1e-30
_LOGITS_RATIO = 8
"""With this many times more outputs than inputs, a layer's outputs are logits, whose gradient has a long tail that 8 bits would cut."""


class Int8Linear(nn.Linear):
    """`y = x Wᵀ + b` with W as 8-bit integers times a scale for each output; float32 in and out."""

    scale: Tensor

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        """From a float weight, shape (outputs, inputs)."""
        integers, scale = quantised(weight.detach().float())
        self._hold(integers, scale[:, 0], None if bias is None else bias.detach().float())

    def _hold(self, integers: Tensor, scale: Tensor, bias: Tensor | None) -> None:
        nn.Module.__init__(self)
        self.out_features, self.in_features = integers.shape
        self.weight = nn.Parameter(integers, requires_grad=False)
        self.register_buffer("scale", scale)
        self.register_parameter("bias", None if bias is None else nn.Parameter(bias, requires_grad=False))

    @classmethod
    def _of(cls, integers: Tensor, scale: Tensor, bias: Tensor | None) -> Int8Linear:
        made = cls.__new__(cls)
        made._hold(integers, scale, bias)
        return made

    @classmethod
    def joined(cls, layers: Sequence[Int8Linear]) -> Int8Linear:
        """One layer with the outputs of all, side by side."""
        biases: list[Tensor] = [layer.bias for layer in layers if layer.bias is not None]
        return cls._of(
            torch.cat([layer.weight for layer in layers]),
            torch.cat([layer.scale for layer in layers]),
            torch.cat(biases) if biases else None,
        )

    def part(self, outputs: slice) -> Int8Linear:
        """Some of the outputs; the weights are shared."""
        return self._of(self.weight[outputs], self.scale[outputs], None if self.bias is None else self.bias[outputs])

    def forward(self, input: Tensor) -> Tensor:
        """Shape (…, inputs) to (…, outputs)."""
        rows = input.reshape(-1, self.in_features).float()
        if torch.is_grad_enabled() and rows.requires_grad:
            product: Tensor = _Product.apply(rows, self.weight, self.scale)  # type: ignore[no-untyped-call]
        else:
            product = _times(rows, self.weight.t(), self.scale)
        if self.bias is not None:
            product = product + self.bias
        return product.view(*input.shape[:-1], self.out_features)


class _Product(torch.autograd.Function):
    """The product with the gradient of its inputs."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
        """`rows · (scale · weight)ᵀ`."""
        ctx.save_for_backward(weight, scale)
        return _times(rows, weight.t(), scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """`gradient · (scale · weight)`."""
        weight, scale = ctx.saved_tensors
        if weight.shape[0] >= _LOGITS_RATIO * weight.shape[1]:
            return _times_in_float(gradient, weight, scale), None, None
        return _times(gradient * scale, weight), None, None


def quantised(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Each row as integers of -127 to 127 and its scale: `rows ≈ integers · scale`, scale of shape (rows, 1)."""
    largest = torch.maximum(rows.amax(-1, keepdim=True), rows.amin(-1, keepdim=True).neg_())
    scale = largest.clamp_min_(_SMALLEST).div_(LEVELS)
    return (rows / scale).round_().to(torch.int8), scale


def _times(rows: Tensor, weight: Tensor, scale: Tensor | None = None) -> Tensor:
    """`rows · weight` for integers `weight`, shape (inputs, outputs), each output times its `scale`."""
    if int8_in_float.is_needed():
        integers, own = quantised(rows)
        product = int8_in_float.product(integers, weight).mul_(own)
        return product if scale is None else product.mul_(scale)
    product = rows.new_empty(rows.shape[0], weight.shape[1])
    for part, out in zip(torch.split(rows, BLOCK), torch.split(product, BLOCK), strict=True):
        integers, own = quantised(part)
        out.copy_(torch._int_mm(integers, weight)).mul_(own)
        if scale is not None:
            out.mul_(scale)
    return product


def _times_in_float(rows: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """`rows · (scale · weight)` without a float copy of the whole weight, shape (outputs, inputs)."""
    product = rows.new_zeros(rows.shape[0], weight.shape[1])
    scaled = rows * scale
    for begin in range(0, len(weight), BLOCK):
        product.addmm_(scaled[:, begin : begin + BLOCK], weight[begin : begin + BLOCK].float())
    return product


def to_int8(model: nn.Module) -> None:
    """Replace every linear layer of `model` by its 8-bit form, in place."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Linear:
                setattr(module, name, Int8Linear(child.weight, child.bias))


@cache
def is_exact() -> bool:
    """Whether this machine's integer products are exact: some CPUs without VNNI saturate sums of 16 bits, if they are not computed in float32."""
    if int8_in_float.is_needed():
        return True
    largest = torch.full((4, 64), LEVELS, dtype=torch.int8)
    product = torch._int_mm(largest, largest.t().contiguous())
    return bool((product == LEVELS * LEVELS * 64).all()) and bool(
        (torch._int_mm(-largest, largest.t()) == -product).all()
    )
