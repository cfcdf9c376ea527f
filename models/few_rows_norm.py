"""LLaMA's norm for a few rows in half its operations, whose number is what counts there. Exact up to rounding."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers.models.llama.modeling_llama import LlamaRMSNorm


def few_rows_norm(module: Any) -> Callable[[Tensor], Tensor]:
    """What computes `x / √(mean x² + ε) · w` (Zhang & Sennrich 2019) as `x / hypot(‖x‖, √(n ε)) · √n w`, over the last axis, of n.

    `module` itself where it is not LLaMA's own in float32, or something looks at it.
    """
    looked_at = bool(getattr(module, "_forward_hooks", None) or getattr(module, "_forward_pre_hooks", None))
    if type(module) is not LlamaRMSNorm or module.weight.dtype != torch.float32 or looked_at:
        called: Callable[[Tensor], Tensor] = module
        return called
    width = module.weight.numel()
    weight = module.weight.detach() * math.sqrt(width)
    least = weight.new_tensor(math.sqrt(width * module.variance_epsilon))

    def norm(rows: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
        return rows / torch.hypot(length, least) * weight

    return norm
