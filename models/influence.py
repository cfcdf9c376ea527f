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

    with turns_of(backbone.device).take(), torch.inference_mode():
        return watched_pass(backbone, [*prompt, *generated], len(generated), index, heads)[1]


def watched_pass(
    backbone: Backbone, ids: Sequence[int], rows: int, index: int, heads: Literal["mean", "max"]
) -> tuple[torch.Tensor, list[float]]:
    """One pass over `ids`: the last hidden states, shape (tokens, hidden), and the influence of the last `rows` tokens.

    `index`: the layer, from 0. Called in one's turn on the device, without gradients.
    """
    import torch
    from transformers import DynamicCache

    keys: list[torch.Tensor] = []
    captured: list[torch.Tensor] = []
    cache: Any = DynamicCache(config=backbone.model.config)

    def keep(
        key: torch.Tensor, value: torch.Tensor, layer: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if layer == index:  # rotated, of the whole context; those of all layers would be memory for nothing
            keys.append(key[0])
        return key, value

    cache.update = keep

    def capture(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        hidden = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
        captured.append(_generated_attention(module, hidden, kwargs["position_embeddings"], keys[0], rows, heads))

    own = _own_path(backbone.model.model, index)
    own.layers[index].self_attn.register_forward_hook(capture, with_kwargs=True)
    hidden: torch.Tensor = own(
        input_ids=torch.tensor([list(ids)], device=backbone.device), past_key_values=cache, use_cache=True
    ).last_hidden_state[0]
    later = captured[0].tril(-1)  # strictly later rows j > i
    scores: list[float] = later.amax(0).tolist()
    return hidden, scores


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
