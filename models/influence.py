"""Influence of generated tokens: how much the tokens after them attend to them (Eq. 1-2)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from webrec.errors import ConfigurationError
from webrec.models.turns import turns_of

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
    are computed and only their generated columns kept: memory is heads × 128 × context, never layers × context². Where decoding
    has measured it (`watched`), nothing is computed.
    """
    if not generated:
        return []
    index = resolve_layer(len(backbone.model.model.layers), layer)
    measured = backbone.recent.get((*prompt, *generated), len(generated), (index, heads))
    return measured if measured is not None else _computed(backbone, prompt, generated, index, heads)


def _computed(
    backbone: Backbone, prompt: Sequence[int], generated: Sequence[int], index: int, heads: Literal["mean", "max"]
) -> list[float]:
    import torch
    from transformers import DynamicCache

    model = backbone.model
    cache: Any = DynamicCache(config=model.config)
    captured: list[torch.Tensor] = []

    def capture(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        hidden = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
        keys = cache.layers[index].keys[0]  # rotated, of the whole context: this layer has just added its own
        captured.append(
            _generated_attention(module, hidden, kwargs["position_embeddings"], keys, len(generated), heads)
        )

    own = _own_path(model.model, index)
    own.layers[index].self_attn.register_forward_hook(capture, with_kwargs=True)
    ids = torch.tensor([[*prompt, *generated]], device=backbone.device)
    with turns_of(backbone.device).take(), torch.inference_mode():
        own(input_ids=ids, past_key_values=cache, use_cache=True)
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
    module: Any,
    hidden: torch.Tensor,
    rotary: tuple[torch.Tensor, torch.Tensor],
    keys: torch.Tensor,
    rows: int,
    heads: str,
) -> torch.Tensor:
    """Attention of the last `rows` rows, over the same columns, joined over heads: shape (rows, rows), float32.

    `keys` are the layer's rotated keys for the whole context, shape (key/value heads, context, width).
    """
    import torch
    from transformers.models.llama import modeling_llama

    rotate_half: Any = modeling_llama.rotate_half  # untyped
    cos, sin = (part[0, -rows:] for part in rotary)
    query = module.q_proj(hidden[0, -rows:]).view(rows, -1, module.head_dim).transpose(0, 1)
    query = (query * cos + rotate_half(query) * sin).float()
    key = keys.float().repeat_interleave(module.num_key_value_groups, 0)
    context = key.shape[1]
    columns = torch.arange(context, device=hidden.device)
    blocks = []
    for start in range(0, rows, _ROW_BLOCK):
        block = query[:, start : start + _ROW_BLOCK]
        positions = context - rows + start + torch.arange(block.shape[1], device=hidden.device)
        logits = block @ key.transpose(1, 2) * module.scaling
        attention = logits.masked_fill(columns > positions[:, None], -torch.inf).softmax(-1)[..., -rows:]
        blocks.append(attention.mean(0) if heads == "mean" else attention.amax(0))
    return torch.cat(blocks)
