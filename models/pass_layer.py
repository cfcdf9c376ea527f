"""A decoder layer of a pass over a prompt and its candidates, written out: in place, and in the last layer for the rows that are wanted alone.

Exact up to rounding. Without gradients only. LLaMA's own modules are written out; others, and whatever hooks look at, are called as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn.functional import silu
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaDecoderLayer, LlamaMLP

if TYPE_CHECKING:
    from webrec.models.packed_attention import PackLayout


def write_out(layer: Any, *, last: bool) -> None:
    """Give `layer`, whose modules nobody else has, what is below. `last`: of its results only those of the last rows are wanted."""
    if type(layer) is LlamaDecoderLayer:
        layer.__class__ = _Layer
    if type(layer.self_attn) is LlamaAttention:
        # A head on the last layer reads all rows, and adds to all.
        alone = last and type(layer) is _Layer and not _is_looked_at(layer) and not _is_looked_at(layer.self_attn)
        layer.self_attn.__class__ = _LastRowsAttention if alone else _Attention
    if type(layer.mlp) is LlamaMLP and type(layer.mlp.act_fn) is nn.SiLU:
        layer.mlp.__class__ = _Mlp


def _is_looked_at(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


class _Layer(LlamaDecoderLayer):  # type: ignore[no-untyped-call]
    """Shape (1, rows, hidden) to (1, rows that attention returns, hidden)."""

    def forward(self, hidden_states: Tensor, *_: Any, **about: Any) -> Tensor:
        read, _ = self.self_attn(hidden_states=self.input_layernorm(hidden_states), **about)
        hidden: Tensor = read + hidden_states[:, -read.shape[1] :]
        return hidden.add_(self.mlp(self.post_attention_layernorm(hidden)))


class _Attention(LlamaAttention):
    """What all rows read."""

    def forward(  # type: ignore[override]
        self,
        hidden_states: Tensor,
        position_embeddings: Any = None,
        attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        **about: Any,
    ) -> tuple[Tensor, None]:
        pack: PackLayout = about["pack"]
        cos, sin = position_embeddings
        wanted = self._wanted(hidden_states.shape[1], pack)
        query = _turned(self._by_head(self.q_proj(hidden_states[:, -wanted:])), cos[:, -wanted:], sin[:, -wanted:])
        key = _turned(self._by_head(self.k_proj(hidden_states)), cos, sin).transpose(1, 2)
        value = self._by_head(self.v_proj(hidden_states)).transpose(1, 2)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.layer_idx)
        attend = ALL_ATTENTION_FUNCTIONS[self.config._attn_implementation]
        read, _ = attend(self, query.transpose(1, 2), key, value, None, scaling=self.scaling, pack=pack)
        return self.o_proj(read.flatten(2)), None

    def _wanted(self, rows: int, pack: PackLayout) -> int:
        return rows

    def _by_head(self, rows: Tensor) -> Tensor:
        return rows.view(*rows.shape[:2], -1, self.head_dim)


class _LastRowsAttention(_Attention):
    """What the candidates read, and the row before them, which predicts their first tokens. Keys and values are those of all rows."""

    def _wanted(self, rows: int, pack: PackLayout) -> int:
        return min(rows, pack.tokens + 1)


class _Mlp(LlamaMLP):
    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.down_proj(silu(self.gate_proj(x), inplace=True).mul_(self.up_proj(x)))
        return output


def _turned(rows: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """`rows` at their positions (Su et al. 2021), shape (1, rows, heads, width); cosines and sines (1, rows, width)."""
    cos, sin, half = cos[:, :, None], sin[:, :, None], rows.shape[-1] // 2
    turned = rows * cos
    turned[..., :half].addcmul_(rows[..., half:], sin[..., :half], value=-1)
    turned[..., half:].addcmul_(rows[..., :half], sin[..., half:])
    return turned
