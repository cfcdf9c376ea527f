"""Attention of candidates that are packed behind one prompt, without a mask over all of it.

An explicit mask makes CPUs compute all that it hides. So it is taken apart, into blocks of rows: the prompt's rows attend causally, and
what is dark to a whole block is left out; a candidate's rows attend to the whole prompt, which needs no mask, and to their own candidate,
which is small, in one softmax. Both are plain matrix products, which CPUs multiply at their full rate in bfloat16 as well; torch's own
kernel does not. Exact up to rounding in float32; in bfloat16 scores are rounded before the softmax, as in transformers' plain products.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM

_NAME = "webrec_packed"
_LONGEST_OVER_SHORTEST = 2
_ROWS = 64
"""Rows of a prompt's block: few enough to leave out much and to stay in the processor's cache, enough for quick products."""

_WIDTHS = 12
"""A prompt's blocks have at most so many different numbers of columns: more shapes than oneDNN keeps would be compiled anew in every layer."""

_CANDIDATES_ROWS = 128
"""Rows of a block of candidates, of which nothing is left out."""


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
    """Whether attention is taken apart on `device`: on a GPU many small products cost more than a mask."""
    return device.type == "cpu"


def _in_blocks(query: torch.Tensor) -> bool:
    """Whether a prompt's rows attend in blocks: where torch's own kernel, which multiplies by MKL in float32, leaves rate unused."""
    import torch

    from webrec.models.onednn_linear import is_quicker

    return taken_apart(query.device) and (query.dtype in {torch.bfloat16, torch.float16} or is_quicker())


def for_packs(model: LlamaForCausalLM) -> Any:
    """The decoder of `model`, whose forward takes `pack`, a `PackLayout`. Modules of its own on the path to attention, all else shared.

    It may leave out of its results the rows before the prompt's last. Without gradients only.
    """
    from transformers import AttentionInterface

    from webrec.models.pass_layer import write_out

    AttentionInterface.register(_NAME, attention)
    config = copy.deepcopy(model.model.config)
    config._attn_implementation = _NAME
    decoder = _view(model.model, config=config)
    decoder.layers = _view(model.model.layers)
    for number, (name, layer) in enumerate(model.model.layers.named_children(), 1):
        own = _view(layer)
        own.self_attn = _view(layer.self_attn, config=config)
        own.mlp = _view(layer.mlp)
        write_out(own, last=number == len(model.model.layers))
        decoder.layers._modules[name] = own
    return decoder


def read_prompt(model: LlamaForCausalLM, ids: torch.Tensor, cache: Any) -> torch.Tensor:
    """Logits of what follows `ids`, shape (1, tokens), all of whose keys and values the empty `cache` holds thereafter; shape (vocabulary,)."""
    if taken_apart(ids.device):
        layout = PackLayout.of([], ids.shape[1], ids.device, model.dtype)
        decoder = for_packs(model)
        hidden = decoder(input_ids=ids, past_key_values=cache, use_cache=True, pack=layout).last_hidden_state
    else:
        hidden = model.model(input_ids=ids, past_key_values=cache, use_cache=True).last_hidden_state
    # A matrix: of a slice of three dimensions torch multiplies by a copy of the whole vocabulary.
    logits: torch.Tensor = model.lm_head(hidden[0, -1:])
    return logits[0]


def _view(module: Any, **changed: Any) -> Any:
    """`module` once more: the same parameters, hooks and children, in a dictionary of children of its own."""
    view = copy.copy(module)
    view._modules = dict(module._modules)
    for name, value in changed.items():
        setattr(view, name, value)
    return view


def attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    pack: PackLayout,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """As transformers calls it: query (1, heads, rows, width), key and value (1, key/value heads, columns, width).

    Of a prompt there are all rows, the last one, or none.
    """
    import torch

    attend = torch.nn.functional.scaled_dot_product_attention
    prompt, columns = query.shape[2] - pack.tokens, key.shape[2] - pack.tokens
    parts = []
    if prompt:
        q, k, v = query[:, :, :prompt], key[:, :, :columns], value[:, :, :columns]
        parts.append(
            _causal(q, k, v, scaling)
            if prompt > 1 and _in_blocks(query)
            else attend(q, k, v, is_causal=prompt > 1, scale=scaling, enable_gqa=True)
        )
    if pack.tokens and pack.mask is not None:
        k, v = (t.repeat_interleave(module.num_key_value_groups, 1) for t in (key, value))
        parts.append(attend(query[:, :, prompt:], k, v, attn_mask=pack.mask, scale=scaling))
    elif pack.tokens:
        parts.append(_packed(query[:, :, prompt:], key, value, pack, scaling))
    return torch.cat(parts, 2).transpose(1, 2), None


def _grouped(query: torch.Tensor, key: torch.Tensor, scaling: float) -> torch.Tensor:
    """Scaled queries by the key/value head that they read; shape (key/value heads, groups, rows, width)."""
    return (query[0] * scaling).view(key.shape[1], -1, *query.shape[2:])


def _together(
    grouped: torch.Tensor, key: torch.Tensor, value: torch.Tensor, read: torch.Tensor, block: int
) -> list[tuple[torch.Tensor, ...]]:
    """Queries, keys, values and results that are multiplied together: of one key/value head where oneDNN does it, else of all.

    Keys and values come in whole blocks of `block`.
    """
    import torch

    from webrec.models.onednn_linear import is_quicker

    key, value = _whole(key, block), _whole(value, block)
    if key.dtype == torch.float32 and is_quicker():
        return list(zip(grouped, key, value, read, strict=True))
    if key.dtype == torch.bfloat16:  # else each block's product would turn them again
        key = key.mT.contiguous().mT
    return [(grouped, key, value, read)]


def _whole(rows: torch.Tensor, block: int) -> torch.Tensor:
    """`rows`, contiguous, with zeros behind them up to whole blocks: oneDNN compiles a product for every shape that it meets."""
    import torch

    missing = -rows.shape[-2] % block
    return torch.nn.functional.pad(rows, (0, 0, 0, missing)) if missing else rows.contiguous()


def _rounded_up(count: float, block: int) -> int:
    return math.ceil(count / block) * block


def _times(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """`first · secondᵀ`, of one head (matrices) or of several."""
    import torch

    from webrec.models.onednn_linear import product

    return product(first, second) if second.dim() == 2 else torch.bmm(first, second.mT)


def _causal(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float) -> torch.Tensor:
    """What each row reads of itself and those before it; shapes as in `_attention`, as many rows as columns."""
    import torch

    grouped = _grouped(query, key, scaling)
    groups, rows = grouped.shape[1:3]
    width = _rounded_up(rows / _WIDTHS, _ROWS)
    read = torch.empty_like(grouped)
    later = torch.ones(_ROWS, width, dtype=torch.bool, device=query.device).triu(1)
    for q, k, v, out in _together(grouped, key[0], value[0], read, width):
        for begin in range(0, rows, _ROWS):
            end = begin + _ROWS  # the last block may reach into zeros, which no row before them sees
            columns = _rounded_up(end, width)
            scores = _times(_whole(q[..., begin:end, :], _ROWS).flatten(-3, -2), k[..., :columns, :])
            by_row = (*scores.shape[:-2], groups, _ROWS, -1)
            scores.view(by_row)[..., begin:].masked_fill_(later[:, : columns - begin], -torch.inf)
            mixed = _times(scores.softmax(-1), v[..., :columns, :].mT).view(by_row)
            out[..., begin:end, :] = mixed[..., : rows - begin, :]
    return read.view(query.shape)


def _packed(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, pack: PackLayout, scaling: float
) -> torch.Tensor:
    """What the candidates' rows read: of the prompt, and of themselves."""
    import torch

    grouped, before = _grouped(query, key, scaling), key.shape[2] - pack.tokens
    read = torch.empty_like(grouped)
    block = _ROWS if _in_blocks(query) else 1  # MKL takes any shape
    together = _together(grouped, key[0], value[0], read, block)
    for at, real in pack.groups:
        few = max(1, _CANDIDATES_ROWS // at.shape[1])
        for begin in range(0, len(at), few):
            own, kept = at[begin : begin + few], real[begin : begin + few].flatten()
            rows = own.flatten()[kept]
            for q, k, v, out in together:
                out[..., rows, :] = _candidates(q, k, v, before, own, block)[..., kept, :]
    return read.view(query.shape)


def _candidates(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, before: int, at: torch.Tensor, block: int
) -> torch.Tensor:
    """What the rows `at`, shape (candidates, longest), read, of one head or of several; shape (…, groups, candidates · longest, width).

    Products with the prompt are of whole blocks of `block` rows and columns.
    """
    import torch

    candidates, longest = at.shape
    flat = at.flatten()
    # (…, candidates, groups, longest, width)
    asked = q[..., flat, :].view(*q.shape[:-2], candidates, longest, -1).transpose(-4, -3)
    rows = asked.flatten(-4, -2)
    count, columns = rows.shape[-2], _rounded_up(before, block)
    rows = _whole(rows, block)
    own_k, own_v = (t[..., before:, :][..., flat, :].reshape(-1, longest, t.shape[-1]) for t in (k, v))
    of_prompt = _times(rows, k[..., :columns, :])[..., :count, :before]
    of_own = torch.bmm(asked.reshape(len(own_k), -1, q.shape[-1]), own_k.mT)
    later = torch.ones(longest, longest, dtype=torch.bool, device=at.device).triu(1)
    of_own.view(len(of_own), -1, longest, longest).masked_fill_(later, -torch.inf)
    weights = torch.cat([of_prompt, of_own.view(*of_prompt.shape[:-1], longest)], -1).softmax(-1)
    mine = weights[..., before:].reshape(of_own.shape)
    of_prompt = weights[..., :before]
    if any(padding := (0, columns - before, 0, rows.shape[-2] - count)):
        of_prompt = torch.nn.functional.pad(of_prompt, padding)
    read = _times(of_prompt, v[..., :columns, :].mT)[..., :count, :].reshape(asked.shape)
    read += torch.bmm(mine, own_v).view(asked.shape)
    return read.transpose(-4, -3).flatten(-3, -2)


def _mask(lengths: Sequence[int], before: int, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    import torch

    owner = torch.tensor([n for n, length in enumerate(lengths) for _ in range(length)], device=device)
    own = (owner[:, None] == owner[None, :]).tril()
    seen = torch.cat([own.new_ones(len(owner), before), own], dim=1)
    return torch.zeros(seen.shape, dtype=dtype, device=device).masked_fill(~seen, torch.finfo(dtype).min)[None, None]
