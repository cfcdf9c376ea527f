"""Greedy decoding that keeps the entropy of every distribution it drew from (Eq. 3).

Written out rather than left to `generate()`: that fills unset options from the model's own generation
configuration (sampling, repetition penalties), and its scores are then no longer the raw distribution.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from webrec.errors import RunCancelled

if TYPE_CHECKING:
    import torch

    from webrec.models.backbone import Backbone

StopReason = Literal["end", "limit", "repetition"]

MAX_PERIOD = 32
REPEATS = 3
MIN_REPEATED_TOKENS = 12


@dataclass(frozen=True)
class Decoded:
    """Generated token ids, the entropy in nats of the distribution that produced each, and why decoding stopped."""

    ids: list[int]
    entropy: list[float]
    stop: StopReason


def entropy_of(logits: torch.Tensor) -> torch.Tensor:
    """Shannon entropy in nats over the last axis: `-Σ_v P(v) ln P(v)`, computed in float32 (Eq. 3)."""
    log_p = logits.float().log_softmax(-1)
    return -(log_p.exp() * log_p).nan_to_num(0.0).sum(-1)


def repeats_itself(ids: Sequence[int]) -> bool:
    """Whether `ids` ends in the same 1 to 32 tokens three times over, at least 12 tokens in all."""
    for period in range(1, MAX_PERIOD + 1):
        times = max(REPEATS, -(-MIN_REPEATED_TOKENS // period))
        span = period * times
        if span > len(ids):
            continue
        tail = ids[len(ids) - span :]
        if all(tail[i] == tail[i - period] for i in range(period, span)):
            return True
    return False


def decode_greedily(
    backbone: Backbone,
    prompt: Sequence[int],
    limit: int,
    *,
    on_token: Callable[[int], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Decoded:
    """Decode `t_i = argmax P_i` after `prompt` until an end token, `limit` tokens, or a repetition.

    Raises `RunCancelled` as soon as `cancelled()` is true. End tokens are not part of the result.
    """
    import torch
    from transformers import DynamicCache

    ids: list[int] = []
    entropy: list[float] = []
    cache = DynamicCache(config=backbone.model.config)
    pending = list(prompt)
    try:
        with torch.inference_mode():
            while len(ids) < limit:
                if cancelled():
                    raise RunCancelled("the run was cancelled while the backbone was reasoning")
                step = torch.tensor([pending], device=backbone.device)
                logits = backbone.model(input_ids=step, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[
                    0, -1
                ]
                token = int(logits.argmax())
                if token in backbone.chat.end_ids:
                    return Decoded(ids, entropy, "end")
                ids.append(token)
                entropy.append(float(entropy_of(logits)))
                on_token(token)
                if repeats_itself(ids):
                    return Decoded(ids, entropy, "repetition")
                pending = [token]
    finally:
        backbone.recent.put(prompt, cache)  # only now that nobody here adds to it any more
    return Decoded(ids, entropy, "limit")
