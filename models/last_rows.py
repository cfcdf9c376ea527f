"""The last layer of a pass of which only the last rows are wanted: keys and values of all rows, everything else of these alone. Exact."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaDecoderLayer, rotate_half

from webrec.models.packed_attention import PackLayout, attention


def can_end_early(layer: nn.Module) -> bool:
    """Whether `layer` is LLaMA's own, and nothing looks at what it or its attention computes, as a head on it would."""
    own: Any = layer
    if type(layer) is not LlamaDecoderLayer or type(own.self_attn) is not LlamaAttention:
        return False
    return not any((m._forward_hooks or m._forward_pre_hooks) for m in (layer, own.self_attn))


class LastRowsLayer(LlamaDecoderLayer):
    """Returns the rows of the candidates and the one before them, which predicts their first tokens; shape (1, wanted, hidden)."""

    def forward(self, hidden_states: Tensor, *_: Any, pack: PackLayout, **about: Any) -> Tensor:
        """As the layer's own, with the layout of the pass."""
        read = self.self_attn(self.input_layernorm(hidden_states), pack=pack, **about)
        hidden: Tensor = hidden_states[:, -read.shape[1] :] + read
        return hidden + self.mlp(self.post_attention_layernorm(hidden))


class LastRowsAttention(LlamaAttention):
    """What the wanted rows read; shape (1, wanted, hidden)."""

    def forward(  # type: ignore[override]
        self,
        hidden_states: Tensor,
        *,
        position_embeddings: Any,
        pack: PackLayout,
        past_key_values: Any = None,
        **_: Any,
    ) -> Tensor:
        """As the layer's own, of one sequence."""
        wanted = min(hidden_states.shape[1], pack.tokens + 1)
        cos, sin = position_embeddings

        def by_head(rows: Tensor) -> Tensor:
            return rows.view(*rows.shape[:2], -1, self.head_dim).transpose(1, 2)

        def turned(rows: Tensor) -> Tensor:
            own = (t[:, None, -rows.shape[2] :] for t in (cos, sin))
            return rows * next(own) + rotate_half(rows) * next(own)

        query = turned(by_head(self.q_proj(hidden_states[:, -wanted:])))
        key, value = turned(by_head(self.k_proj(hidden_states))), by_head(self.v_proj(hidden_states))
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.layer_idx)
        read, _ = attention(self, query, key, value, None, self.scaling, pack)
        output: Tensor = self.o_proj(read.flatten(2))
        return output
