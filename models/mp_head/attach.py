"""How a head meets its LLaMA: hooks that find the prompt's tokens, and that add the head to a layer's attention.

Hooks rather than a changed class: names of the backbone's parameters stay as they are, PEFT may wrap its modules
before, and taking the hooks away leaves the model as it was.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from webrec.errors import ConfigurationError
from webrec.models.mp_head.layer import HeadLayer, Nodes
from webrec.models.mp_head.node_cache import store_nodes, stored_nodes
from webrec.models.mp_head.standardise import Moments

NODE_MASK = "node_mask"
_IGNORED_LABEL = -100


Hook = Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], tuple[Any, dict[str, Any]]]


def label_hook(model: nn.Module, llama: nn.Module) -> Hook:
    """Before `model`, which is `llama` or wraps it: with `labels` and no node mask, the prompt is what comes before them."""
    names = _parameters(model) or _parameters(llama)

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        kwargs = {**dict(zip(names, args, strict=False)), **kwargs}
        labels = kwargs.get("labels")
        if labels is not None and kwargs.get(NODE_MASK) is None:
            answer = (labels != _IGNORED_LABEL).cumsum(-1) > 0
            mask = kwargs.get("attention_mask")
            attended = torch.ones_like(answer) if mask is None or mask.dim() != 2 else mask.bool()
            kwargs[NODE_MASK] = ~answer & attended
        keep = kwargs.get("logits_to_keep", 0)
        if isinstance(keep, int) and keep > 1 and kwargs.get(NODE_MASK) is None and not _cached(kwargs):
            raise ConfigurationError(
                f"{NODE_MASK}: with logits_to_keep {keep} the pass may end in proposed answers (assisted generation), which "
                f"are no prompt; generate without an assistant, or pass {NODE_MASK}"
            )
        return (), kwargs

    return hook


def _parameters(module: nn.Module) -> list[str]:
    """Names of what `module` may be given by position; none where it hands on whatever it is given."""
    parameters = inspect.signature(module.forward).parameters.values()
    variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    return [] if variadic else [p.name for p in parameters]


def _cached(kwargs: dict[str, Any]) -> int:
    """Positions that the cache holds already."""
    cache = kwargs.get("past_key_values")
    return 0 if cache is None else int(cache.get_seq_length())


def prompt_hook(decoder: nn.Module, virtual_tokens: int) -> Hook:
    """Before `decoder`, whose soft prompt has `virtual_tokens`: settle which tokens of this pass are nodes, and refuse what could not be exact.

    A fresh pass gets a mask (batch, N) for the layers below; a continuation gets none, and reads the stored nodes.
    """
    names = _parameters(decoder)

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        kwargs = {**dict(zip(names, args, strict=False)), **kwargs}
        given = kwargs.pop(NODE_MASK, None)
        inputs = kwargs.get("inputs_embeds")
        virtual = 0 if inputs is None else virtual_tokens
        if inputs is None:
            inputs = kwargs["input_ids"]
        batch, length = inputs.shape[:2]
        cache = kwargs.get("past_key_values")
        if past := _cached(kwargs):
            _check_continuation(given, length, past)
            return (), kwargs
        if given is None and module.training and torch.is_grad_enabled():
            raise ConfigurationError(
                f"{NODE_MASK}: a training pass must say which tokens are the prompt; pass labels (-100 on the prompt) "
                f"or {NODE_MASK}, or else answers are read before they are predicted"
            )
        settings: Any = module.config
        use_cache = kwargs.get("use_cache")
        if given is None and not (settings.use_cache if use_cache is None else use_cache):
            raise ConfigurationError(
                f"{NODE_MASK}: without a cache (use_cache=False) prompt and answer cannot be told apart; use the cache, or "
                f"pass {NODE_MASK}"
            )
        if given is None:
            mask = _attended(kwargs.get("attention_mask"), batch, length, cache, inputs.device)
            mask[:, :virtual] = False
        else:
            mask = _checked(given, batch, length, virtual).to(inputs.device)
        kwargs[NODE_MASK] = mask
        return (), kwargs

    return hook


def _check_continuation(given: Tensor | None, length: int, past: int) -> None:
    if given is None and length > 1:
        raise ConfigurationError(
            f"{NODE_MASK}: {length} tokens follow {past} that the cache already holds; the head reads a prompt in one "
            f"pass only, so no chunked prefill and no further turn (prefill_chunk_size must be unset); if the tokens are "
            f"an answer, say so with a {NODE_MASK} of False"
        )
    if given is not None and bool(given.any()):
        raise ConfigurationError(
            f"{NODE_MASK}: prompt tokens after {past} cached ones cannot be added; compute the whole prompt in one pass"
        )


def _attended(mask: Tensor | None, batch: int, length: int, cache: Any, device: torch.device) -> Tensor:
    """Every attended token: what a prompt without an answer has as nodes."""
    if mask is None:
        return torch.ones(batch, length, dtype=torch.bool, device=device)
    if mask.dim() == 2:
        return mask[:, -length:].bool().clone()
    if getattr(cache, "is_compileable", False):  # generate() has turned its own mask into this form
        last: Tensor = mask[:, 0, -1, :length]
        return (last if last.dtype == torch.bool else last >= 0).expand(batch, -1).clone()
    raise ConfigurationError(f"{NODE_MASK}: with a 4-dimensional attention mask, say which tokens are the prompt")


def _checked(given: Tensor, batch: int, length: int, virtual: int) -> Tensor:
    if given.dim() == 2 and given.shape[0] == batch and given.shape[1] == length - virtual and virtual:
        return nn.functional.pad(given.bool(), (virtual, 0))
    if given.shape != (batch, length):
        raise ConfigurationError(f"{NODE_MASK}: its shape is {tuple(given.shape)}; give ({batch}, {length})")
    return given.bool()


def attention_hook(layer: int) -> Callable[..., Any]:
    """After the attention of `layer`: add its `mp_head`'s output to it, before the residual connection."""

    def hook(attention: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        head: HeadLayer = attention.mp_head
        hidden = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
        rotary = kwargs.get("position_embeddings") if head.config.rotary else None
        cache, mask = kwargs.get("past_key_values"), kwargs.get(NODE_MASK)
        if mask is not None:
            nodes = _prompt_nodes(attention, head, hidden, mask, rotary)
            if cache is not None:
                store_nodes(cache, layer, nodes)
        else:
            found = None if cache is None else stored_nodes(cache, layer)
            if found is None:
                raise ConfigurationError(
                    "past_key_values: this cache was filled without the head, or part of its prompt was cut off; compute "
                    "the prompt again"
                )
            nodes = found
        added = head.read(_query(attention, head, hidden, rotary), nodes).to(hidden.dtype)
        return (output[0] + added, *output[1:])

    return hook


def measuring_hook(given: Moments, asked: Moments, virtual_tokens: int) -> Callable[..., Any]:
    """After an attention that has a head: count in what the head is given (keys beside values) and asked (queries), token by token."""

    def hook(attention: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        head: HeadLayer = attention.mp_head
        hidden = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
        rotary = kwargs.get("position_embeddings") if head.config.rotary else None
        of_nodes = torch.cat(_keys_and_values(attention, head, hidden, rotary), -1)
        given.add(of_nodes[:, virtual_tokens:].flatten(0, 1))
        asked.add(_query(attention, head, hidden, rotary)[:, virtual_tokens:].flatten(0, 1))

    return hook


def _prompt_nodes(attention: Any, head: HeadLayer, hidden: Tensor, mask: Tensor, rotary: Any) -> Nodes:
    return head.nodes(*_keys_and_values(attention, head, hidden, rotary), mask)


def _keys_and_values(attention: Any, head: HeadLayer, hidden: Tensor, rotary: Any) -> tuple[Tensor, Tensor]:
    """Of all heads, each (B, N, heads·d)."""
    width = head.shape.head_dim
    key, value = _heads(attention, "k", hidden, width), _heads(attention, "v", hidden, width)
    if rotary is not None:
        key = _rotate(key, rotary)
    return key.flatten(2), value.flatten(2)


def _query(attention: Any, head: HeadLayer, hidden: Tensor, rotary: Any) -> Tensor:
    """The mean over query heads, (B, T, d)."""
    query = _heads(attention, "q", hidden, head.shape.head_dim)
    if rotary is not None:
        query = _rotate(query, rotary)
    return query.to(head.dtype).mean(2)


def _heads(attention: Any, which: str, hidden: Tensor, width: int) -> Tensor:
    """Queries, keys or values before the rotary embedding, after their norm if the model has one: (B, N, heads, d)."""
    projected: Tensor = getattr(attention, f"{which}_proj")(hidden).unflatten(-1, (-1, width))
    norm = getattr(attention, f"{which}_norm", None)
    return projected if norm is None else norm(projected)


def _rotate(x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    from transformers.models.llama import modeling_llama

    rotate_half: Any = modeling_llama.rotate_half  # untyped
    cos, sin = (part[:, :, None] for part in rotary)
    rotated: Tensor = x * cos + rotate_half(x) * sin
    return rotated
