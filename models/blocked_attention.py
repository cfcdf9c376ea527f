"""Attention with a mask for training on CPUs, in blocks of rows: what no row of a block sees is not computed.

Half of a causal mask is dark, and so is most of what packed candidates see of one another. Exact up to rounding in float32: softmax and gradients are those of
the whole matrix. Key and value heads are not repeated; the query heads that share one are rows of one product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

NAME = "webrec_blocked"
ROWS = 128
"""Rows of a block: few enough to skip much, enough for quick products."""


@dataclass(frozen=True)
class RowBlocks:
    """Rows `begin` to `end` see all of the first `clear` columns, and none from `seen` on; between, `mask` says."""

    blocks: list[tuple[int, int, int, int]]
    mask: Tensor  # (B, T, T), additive

    @classmethod
    def of(cls, visible: Tensor, dtype: torch.dtype, rows: int = ROWS) -> RowBlocks:
        """For `visible`, shape (B, T, T), true where a row sees a column; every row sees one."""
        length, blocks = visible.shape[1], []
        for begin in range(0, length, rows):
            end = min(begin + rows, length)
            own = visible[:, begin:end]
            seen = int(own.any(0).any(0).nonzero().max()) + 1
            hidden = (~own.all(0).all(0)).nonzero()
            blocks.append((begin, end, min(int(hidden.min()) if len(hidden) else length, seen), seen))
        return cls(blocks, additive_mask(visible, dtype))


def additive_mask(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where `visible`, else the lowest number; the same shape."""
    mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    return mask.masked_fill(~visible, torch.finfo(dtype).min)


def use_blocks(model: LlamaForCausalLM) -> None:
    """Let `model` attend by blocks; each forward then needs `row_blocks`, a `RowBlocks`, and no other mask."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, _attention)
    model.set_attn_implementation(NAME)


def uses_blocks(model: LlamaForCausalLM) -> bool:
    """Whether `model` attends by blocks."""
    return bool(model.config._attn_implementation == NAME)


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Any,
    scaling: float,
    row_blocks: RowBlocks,
    **_: Any,
) -> tuple[Tensor, None]:
    """As transformers calls it: query (B, heads, T, width), key and value (B, key/value heads, T, width)."""
    read: Tensor = _Blocked.apply(query, key, value, scaling, row_blocks)  # type: ignore[no-untyped-call]
    return read.transpose(1, 2), None


class _Blocked(torch.autograd.Function):
    """softmax(scaling · Q Kᵀ + mask) V."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, scaling: float, rows: RowBlocks) -> Tensor:
        """Shapes as in `_attention`."""
        batch, heads, length, width = query.shape
        shared = key.shape[1]
        grouped = (query * scaling).view(batch, shared, heads // shared, length, width)
        flat_key, flat_value = key.reshape(-1, length, width), value.reshape(-1, length, width)
        read, kept = torch.empty_like(grouped), []
        for begin, end, clear, seen in rows.blocks:
            own = grouped[:, :, :, begin:end].reshape(len(flat_key), -1, width)
            scores = torch.bmm(own, flat_key[:, :seen].mT)
            by_row = scores.view(batch, shared, -1, end - begin, seen)
            by_row[..., clear:] += rows.mask[:, None, None, begin:end, clear:seen]
            weights = scores.softmax(-1)
            read[:, :, :, begin:end] = torch.bmm(weights, flat_value[:, :seen]).view(
                batch, shared, -1, end - begin, width
            )
            kept += [own, weights]
        ctx.save_for_backward(flat_key, flat_value, *kept)
        ctx.scaling, ctx.rows, ctx.shape = scaling, rows, grouped.shape
        return read.view(query.shape)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """Of query, key and value."""
        key, value, *kept = ctx.saved_tensors
        batch, shared, _, length, width = ctx.shape
        given = gradient.reshape(ctx.shape)
        to_query, to_key, to_value = torch.empty_like(given), torch.zeros_like(key), torch.zeros_like(value)
        for number, (begin, end, _, seen) in enumerate(ctx.rows.blocks):
            own, weights = kept[2 * number : 2 * number + 2]
            mine = given[:, :, :, begin:end].reshape(own.shape)
            to_value[:, :seen].baddbmm_(weights.mT, mine)
            to_weights = torch.bmm(mine, value[:, :seen].mT)
            to_scores = torch._softmax_backward_data(to_weights, weights, -1, weights.dtype)
            to_query[:, :, :, begin:end] = torch.bmm(to_scores, key[:, :seen]).view(
                batch, shared, -1, end - begin, width
            )
            to_key[:, :seen].baddbmm_(to_scores.mT, own)
        by_head = (batch, shared, length, width)
        return to_query.mul_(ctx.scaling).view(gradient.shape), to_key.view(by_head), to_value.view(by_head), None, None
