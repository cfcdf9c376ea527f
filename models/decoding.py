"""Greedy decoding that keeps the entropy of every distribution it drew from (Eq. 3), of one prompt or of several together.

Written out rather than left to `generate()`: that fills unset options from the model's own generation
configuration (sampling, repetition penalties), and its scores are then no longer the raw distribution.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from webrec.models.decode_queue import queue_of
from webrec.models.text_in_progress import StopReason, TextInProgress

if TYPE_CHECKING:
    from webrec.models.backbone import Backbone
    from webrec.models.decode_step import Watched


@dataclass(frozen=True)
class Decoded:
    """Generated token ids, the entropy in nats of the distribution that produced each, and why decoding stopped."""

    ids: list[int]
    entropy: list[float]
    stop: StopReason


def decode_greedily(
    backbone: Backbone,
    prompt: Sequence[int],
    limit: int,
    *,
    watched: Watched | None = None,
    on_token: Callable[[int], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Decoded:
    """Decode `t_i = argmax P_i` after `prompt` until an end token, `limit` tokens, or a repetition.

    End tokens are not part of the result. For the rest see `decode_together`.
    """
    (decoded,) = decode_together(backbone, [prompt], limit, watched=watched, on_token=on_token, cancelled=cancelled)
    return decoded


def decode_together(
    backbone: Backbone,
    prompts: Sequence[Sequence[int]],
    limit: int,
    *,
    watched: Watched | None = None,
    on_token: Callable[[int], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> list[Decoded]:
    """Each prompt decoded as if alone, up to rounding; the weights are read once for all, those of other threads included.

    In float32 the tokens are those of one at a time but for ties within rounding; in bfloat16 rounding alone can change a word. With
    `watched`, `influence` of the same layer and heads will not have to compute anything. `on_token` hears the tokens of all rows.
    Raises `ValueError` for an empty prompt, `BusyError` if too many texts wait already, `RunCancelled` once `cancelled()` is true.
    """
    if any(not prompt for prompt in prompts):
        raise ValueError("each prompt needs at least one token")
    if watched is not None:
        watched = (watched[0] % len(backbone.model.model.layers), watched[1])
    texts = [TextInProgress(prompt, limit, backbone.chat.end_ids, watched) for prompt in prompts]
    queue_of(backbone.model).write(backbone.model, texts, on_token, cancelled)
    if watched is not None:
        for text in texts:
            backbone.recent.put((*text.prompt, *text.ids), len(text.ids), watched, text.influence)
    return [Decoded(text.ids, text.entropy, text.stop) for text in texts]
