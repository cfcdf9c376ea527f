"""Influence of generated tokens: how much the tokens after them attend to them (Eq. 1-2)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from webrec.errors import ConfigurationError

if TYPE_CHECKING:
    import torch

    from webrec.models.backbone import Backbone

_ROW_BLOCK = 128


def resolve_layer(layers: int, layer: int) -> int:
    """Index from 0 of `layer`, negative ones counted from the last; `ConfigurationError` outside the model."""
    if not -layers <= layer < layers:
        raise ConfigurationError(f"attention_layer: {layer} is outside the backbone; use {-layers} to {layers - 1}")
    return layer % layers


def influence(
    backbone: Backbone, prompt: Sequence[int], generated: Sequence[int], layer: int, heads: Literal["mean", "max"]
) -> list[float]:
    """`s_att(i) = max_{j>i} A[j, i]` over the generated tokens, the last one 0 (Eq. 2).

    `A = softmax(QKᵀ/√d_k)` (Eq. 1) is the true attention over the whole context, of which only the generated rows
    are computed and only their generated columns kept: memory is heads × 128 × context, never layers × context².
    """
    import torch

    if not generated:
        return []
    model = backbone.model
    index = resolve_layer(len(model.model.layers), layer)
    first = len(prompt)
    captured: list[torch.Tensor] = []

    def capture(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        hidden = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
        captured.append(_generated_attention(module, hidden, kwargs["position_embeddings"], first, heads))

    own = _own_path(model.model, index)
    own.layers[index].self_attn.register_forward_hook(capture, with_kwargs=True)
    with torch.inference_mode():
        own(input_ids=torch.tensor([[*prompt, *generated]], device=backbone.device), use_cache=False)
    later = captured[0].tril(-1)  # strictly later rows j > i
    scores: list[float] = later.amax(0).tolist()
    return scores


def _own_path(model: Any, index: int) -> Any:
    """`model` with module objects of its own on the path to the attention of layer `index`, all else shared.

    A hook there concerns no other thread; putting one on the shared modules breaks passes that are under way.
    """
    layer = model.layers[index]
    path = {model, model.layers, layer, layer.self_attn}
    shared = [m for m in model.modules() if m not in path]
    shared += [*model.parameters(), *model.buffers(), model.config]
    return copy.deepcopy(model, {id(s): s for s in shared})


def _generated_attention(
    module: Any, hidden: torch.Tensor, rotary: tuple[torch.Tensor, torch.Tensor], first: int, heads: str
) -> torch.Tensor:
    """Attention of the rows from `first` on, over the same columns, joined over heads: shape (rows, rows), float32."""
    import torch
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    length, width = hidden.shape[1], module.head_dim
    query = module.q_proj(hidden).view(1, length, -1, width).transpose(1, 2)
    key = module.k_proj(hidden).view(1, length, -1, width).transpose(1, 2)
    query, key = apply_rotary_pos_emb(query, key, *rotary)
    query, key = query[0, :, first:].float(), key[0].float().repeat_interleave(module.num_key_value_groups, 0)
    columns = torch.arange(length, device=hidden.device)
    blocks = []
    for start in range(0, length - first, _ROW_BLOCK):
        block = query[:, start : start + _ROW_BLOCK]
        rows = torch.arange(first + start, first + start + block.shape[1], device=hidden.device)
        logits = block @ key.transpose(1, 2) * module.scaling
        attention = logits.masked_fill(columns > rows[:, None], -torch.inf).softmax(-1)[..., first:]
        blocks.append(attention.mean(0) if heads == "mean" else attention.amax(0))
    return torch.cat(blocks)
