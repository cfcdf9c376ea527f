"""Products of a few rows in floats, as decoding wants them: bound by how quickly the weights are read."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from webrec.models.onednn_linear import blocked, capabilities, product


class FewRows:
    """`y = x Wᵀ + b`, from a copy of the weights in oneDNN's own layout; see `can_block`.

    With AVX2 alone, MKL reads the transpose, or the weights of a layer with more inputs than outputs, in two thirds of the time if
    there is one row, and in more than the time if there are several (docs/performance.md).
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        """From a float weight of shape (outputs, inputs)."""
        self._blocked, self._bias = blocked(weight), bias
        self._turned: Tensor | None = None  # (inputs, outputs)
        if weight.dtype == torch.float32 and has_avx2_alone():
            outputs, inputs = weight.shape
            self._turned = weight.t() if inputs > outputs else weight.t().contiguous()

    def __call__(self, inputs: Tensor) -> Tensor:
        """Shape (…, inputs) to (…, outputs)."""
        if self._turned is None or inputs.numel() > inputs.shape[-1]:
            return product(inputs, self._blocked, self._bias)
        row = torch.mv(self._turned.t(), inputs.flatten())
        if self._bias is not None:
            row += self._bias
        return row.view(*inputs.shape[:-1], -1)


@cache
def has_avx2_alone() -> bool:
    """Whether this is an x86 CPU without AVX-512; False where torch is too old to tell."""
    told = capabilities()
    return told.get("architecture") == "x86_64" and not told.get("avx512_f", True)
