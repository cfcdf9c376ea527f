"""Attention of candidates that are packed behind one prompt, without a mask over all of it.

An explicit mask is slow on CPUs: it doubles what attention costs. So it is taken apart: the prompt's rows attend causally; a
candidate's rows attend to the whole prompt, which needs no mask, and to their own candidate, which is small; both are joined
by their log-sum-exp, which is exact: `softmax([a, b]) [V_a; V_b] = (e^{l_a} o_a + e^{l_b} o_b) / (e^{l_a} + e^{l_b})`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM

_NAME = "webrec_packed"
_LONGEST_OVER_SHORTEST = 2


@dataclass(frozen=True)
class PackLayout:
    """Where the candidates stand among the last `tokens` tokens of a pass; what is before them is the prompt.

    `groups`: positions among these tokens of candidates of similar length, shape (candidates, longest), and which are no padding.
    `mask`: what each sees, where attention cannot be taken apart; shape (1, 1, tokens, prompt + tokens), additive.
    """

    tokens: int
    groups: list[tuple[torch.Tensor, torch.Tensor]]
    mask: torch.Tensor | None = None

    @classmethod
    def of(cls, lengths: Sequence[int], before: int, device: torch.device, dtype: torch.dtype) -> PackLayout:
        """Candidates of these numbers of tokens, one after another, behind `before` tokens of the prompt."""
        if not taken_apart(device):
            return cls(sum(lengths), [], _mask(lengths, before, device, dtype))
        import torch

        starts = [0]
        for length in lengths:
            starts.append(starts[-1] + length)
        groups = []
        waiting = sorted((n for n, length in enumerate(lengths) if length), key=lambda n: lengths[n])
        while waiting:
            most = _LONGEST_OVER_SHORTEST * lengths[waiting[0]]
            group = [n for n in waiting if lengths[n] <= most]
            waiting = waiting[len(group) :]
            steps = torch.arange(lengths[group[-1]], device=device)
            own = torch.tensor([lengths[n] for n in group], device=device)
            real = steps < own[:, None]
            # Padding comes after what is real, which therefore never attends to it.
            at = torch.tensor([starts[n] for n in group], device=device)[:, None] + steps
            groups.append((at.where(real, 0), real))
        return cls(sum(lengths), groups)


def taken_apart(device: torch.device) -> bool:
    """Whether this torch hands out the log-sum-exp of attention on `device`: an internal operator, so looked for, not assumed."""
    import torch

    return device.type == "cpu" and hasattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu")


def for_packs(model: LlamaForCausalLM) -> Any:
    """The decoder of `model`, whose forward takes `pack`, a `PackLayout`. Modules of its own on the path to attention, all else shared."""
    from transformers import AttentionInterface

    AttentionInterface.register(_NAME, _attention)
    config = copy.deepcopy(model.model.config)
    config._attn_implementation = _NAME
    decoder = _view(model.model, config=config)
    decoder.layers = _view(model.model.layers)
    for name, layer in model.model.layers.named_children():
        own = _view(layer)
        own.self_attn = _view(layer.self_attn, config=config)
        decoder.layers._modules[name] = own
    return decoder


def _view(module: Any, **changed: Any) -> Any:
    """`module` once more: the same parameters, hooks and children, in a dictionary of children of its own."""
    view = copy.copy(module)
    view._modules = dict(module._modules)
    for name, value in changed.items():
        setattr(view, name, value)
    return view


def _attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    pack: PackLayout,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """As transformers calls it: query (1, heads, rows, width), key and value (1, key/value heads, columns, width)."""
    import torch

    attend = torch.nn.functional.scaled_dot_product_attention
    prompt = query.shape[2] - pack.tokens
    parts = []
    if prompt:
        k, v = key[:, :, :prompt], value[:, :, :prompt]
        parts.append(attend(query[:, :, :prompt], k, v, is_causal=prompt > 1, scale=scaling, enable_gqa=True))
    if pack.tokens and pack.mask is not None:
        k, v = (t.repeat_interleave(module.num_key_value_groups, 1) for t in (key, value))
        parts.append(attend(query[:, :, prompt:], k, v, attn_mask=pack.mask, scale=scaling))
    elif pack.tokens:
        parts.append(_packed(query[:, :, prompt:], key, value, pack, scaling))
    return torch.cat(parts, 2).transpose(1, 2), None


def _packed(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, pack: PackLayout, scaling: float
) -> torch.Tensor:
    """What the candidates' rows read: of the prompt, and of themselves."""
    import torch

    kv, before, width = key.shape[1], key.shape[2] - pack.tokens, query.shape[-1]
    query = query[0].reshape(kv, -1, *query.shape[2:])  # (key/value heads, groups, tokens, width)
    read, weight = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query.flatten(1, 2)[None], key[:, :, :before], value[:, :, :before], scale=scaling
    )
    read, weight = (
        read.view(query.shape),
        weight.view(query.shape[:-1]).to(torch.promote_types(query.dtype, torch.float32)),
    )
    own_key, own_value = key[0, :, before:], value[0, :, before:]
    for at, real in pack.groups:
        candidates, longest = at.shape
        flat = at.flatten()
        q = (
            query[:, :, flat].view(*query.shape[:2], *at.shape, width).transpose(1, 2)
        )  # (kv, candidates, groups, longest, width)
        k = own_key[:, flat].view(kv * candidates, longest, width)
        v = own_value[:, flat].view(kv * candidates, longest, width)
        later = torch.ones(longest, longest, dtype=torch.bool, device=at.device).triu(1)
        scores = torch.bmm(q.reshape(kv * candidates, -1, width), k.mT).to(weight.dtype) * scaling
        scores.view(*q.shape[:-1], longest).masked_fill_(later, -torch.inf)
        own_weight = scores.logsumexp(-1)
        own = torch.bmm((scores - own_weight[..., None]).exp().to(v.dtype), v)
        kept, place = real.flatten(), flat[real.flatten()]
        own, own_weight = (
            t.view(kv, candidates, -1, longest, *t.shape[2:]).transpose(1, 2).flatten(2, 3)[:, :, kept]
            for t in (own, own_weight)
        )
        share = (own_weight - weight[:, :, place]).sigmoid()[..., None].to(own.dtype)
        read[:, :, place] = torch.lerp(read[:, :, place], own, share)
    joined: torch.Tensor = read.flatten(0, 1)[None]
    return joined


def _mask(lengths: Sequence[int], before: int, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    import torch

    owner = torch.tensor([n for n, length in enumerate(lengths) for _ in range(length)], device=device)
    own = (owner[:, None] == owner[None, :]).tril()
    seen = torch.cat([own.new_ones(len(owner), before), own], dim=1)
    return torch.zeros(seen.shape, dtype=dtype, device=device).masked_fill(~seen, torch.finfo(dtype).min)[None, None]
