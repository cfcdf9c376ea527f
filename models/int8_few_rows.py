"""8-bit products for a few rows at a time, as decoding wants them: those of `Int8Linear`, from weights in oneDNN's own layout.

The plain operator takes about twice as long for two to sixteen rows; for hundreds of rows both take the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from webrec.models.few_rows import FewRows
from webrec.models.int8 import Int8Linear, is_exact, quantised
from webrec.models.int8_in_float import inputs_together, total
from webrec.models.onednn_linear import capabilities

_ZERO = 128
"""oneDNN is quick with unsigned inputs alone. This is added to them, and what it brings to a sum taken off again, in integers."""


class Int8FewRows:
    """`y = x Wᵀ + b` of one `Int8Linear`, or of several side by side that read the same input; keeps a second copy of their weights."""

    def __init__(self, layers: Sequence[Int8Linear]) -> None:
        """See `is_fast`."""
        joined = layers[0] if len(layers) == 1 else Int8Linear.joined(layers)
        self._weight = torch.ops.onednn.qlinear_prepack(joined.weight.detach(), None)
        self._scale, self._bias = joined.scale, None if joined.bias is None else joined.bias.detach()
        self._no_offset = torch.zeros(1, dtype=torch.int32)

    def __call__(self, inputs: Tensor) -> Tensor:
        """Shape (…, inputs) to (…, outputs), float32."""
        integers, own = quantised(inputs.reshape(-1, inputs.shape[-1]).float())
        unsigned = integers.view(torch.uint8).bitwise_xor_(_ZERO)  # two's complement: the same as adding it
        product: Tensor = torch.ops.onednn.qlinear_pointwise.default(
            unsigned,
            1.0,
            _ZERO,
            self._weight,
            self._scale,
            self._no_offset,
            None,
            1.0,
            0,
            torch.float32,
            "none",
            [],
            "",
        ).mul_(own)
        if self._bias is not None:
            product += self._bias
        return product.view(*inputs.shape[:-1], -1)


class Int8FewRowsInFloat:
    """The same where `int8_in_float` is needed: keeps the integers as float32, four times their bytes."""

    def __init__(self, layers: Sequence[Int8Linear]) -> None:
        """Of layers that read the same input, side by side."""
        joined = layers[0] if len(layers) == 1 else Int8Linear.joined(layers)
        parts = inputs_together(joined.weight.detach())
        self._inputs = [part.shape[1] for part in parts]
        self._products = [FewRows(part) for part in parts]
        self._scale, self._bias = joined.scale, None if joined.bias is None else joined.bias.detach()

    def __call__(self, inputs: Tensor) -> Tensor:
        """Shape (…, inputs) to (…, outputs), float32."""
        integers, own = quantised(inputs.reshape(-1, inputs.shape[-1]).float())
        parts = torch.split(integers.float(), self._inputs, -1)
        added = total(product(part) for part, product in zip(parts, self._products, strict=True))
        added = added.mul_(own).mul_(self._scale)
        if self._bias is not None:
            added += self._bias
        return added.view(*inputs.shape[:-1], -1)


@cache
def is_fast() -> bool:
    """Whether this torch has the operators, internal ones, and this CPU quick and exact 8-bit products: else oneDNN takes a plain loop."""
    operators = (hasattr(torch.ops.onednn, name) for name in ("qlinear_prepack", "qlinear_pointwise"))
    if not all(operators) or not capabilities().get("avx512_vnni", False) or not is_exact():
        return False
    largest, inputs = Int8Linear(torch.ones(64, 64)), torch.ones(4, 64)
    return torch.equal(Int8FewRows([largest])(inputs), largest(inputs))
