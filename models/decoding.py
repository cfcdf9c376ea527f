"""Greedy decoding that keeps the entropy of every distribution it drew from (Eq. 3), of one prompt or of several together.

Written out rather than left to `generate()`: that fills unset options from the model's own generation
configuration (sampling, repetition penalties), and its scores are then no longer the raw distribution.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from webrec.errors import RunCancelled
from webrec.models.prompt_lookup import PromptLookup

if TYPE_CHECKING:
    import torch

    from webrec.models.backbone import Backbone

StopReason = Literal["end", "limit", "repetition"]

GUESSED_TOKENS = 3
"""Guesses read beside the last token when one text is written: on CPUs a pass over four tokens costs little more than over one."""

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

    The prompt's cache is left in `backbone.recent`. Raises `RunCancelled` as soon as `cancelled()` is true. End tokens are not part of
    the result.
    """
    if limit <= 0:
        return Decoded([], [], "limit")
    ((decoded, cache),) = decode_together(backbone, [prompt], limit, on_token=on_token, cancelled=cancelled)
    backbone.recent.put(prompt, cache)
    return decoded


def decode_together(
    backbone: Backbone,
    prompts: Sequence[Sequence[int]],
    limit: int,
    *,
    on_token: Callable[[int], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> list[tuple[Decoded, Any]]:
    """Each prompt decoded as if alone, up to rounding, with the key/value cache of that prompt; the weights are read once for all.

    A row that stops leaves the batch; the last one left is written with guesses (`prompt_lookup`), several tokens a pass. In float32
    the tokens are those of one at a time but for ties within rounding; in bfloat16 rounding alone can change a word. `on_token`
    hears the tokens of all rows. Memory: the caches twice. Raises `ValueError` for an empty prompt, `RunCancelled` once
    `cancelled()` is true.
    """
    import torch

    if any(not prompt for prompt in prompts):
        raise ValueError("each prompt needs at least one token")
    texts = [_Text(backbone.chat.end_ids, limit, on_token) for _ in prompts]
    with torch.inference_mode():
        caches, first = _read(backbone, prompts, cancelled)
        tokens, nats = first.argmax(-1).tolist(), entropy_of(first).tolist()
        rows = [n for n in range(len(prompts)) if limit > 0 and texts[n].take(tokens[n], nats[n])]
        if rows:
            _write(backbone, prompts, texts, rows, caches, cancelled)
    return [(Decoded(text.ids, text.entropy, text.stop), cache) for text, cache in zip(texts, caches, strict=True)]


class _Text:
    """What was written after one prompt so far."""

    def __init__(self, end_ids: frozenset[int], limit: int, on_token: Callable[[int], None]) -> None:
        self._end_ids, self._limit, self._on_token = end_ids, limit, on_token
        self.ids: list[int] = []
        self.entropy: list[float] = []
        self.stop: StopReason = "limit"

    @property
    def left(self) -> int:
        """Tokens that may still be written."""
        return self._limit - len(self.ids)

    def take(self, token: int, nats: float) -> bool:
        """Whether it goes on after `token`."""
        if token in self._end_ids:
            self.stop = "end"
            return False
        self.ids.append(token)
        self.entropy.append(nats)
        self._on_token(token)
        if repeats_itself(self.ids):
            self.stop = "repetition"
            return False
        return self.left > 0


def _check(cancelled: Callable[[], bool]) -> None:
    if cancelled():
        raise RunCancelled("the run was cancelled while the backbone was reasoning")


def _read(
    backbone: Backbone, prompts: Sequence[Sequence[int]], cancelled: Callable[[], bool]
) -> tuple[list[Any], torch.Tensor]:
    """Every prompt's cache, and the logits after it: each alone, without padding and with the causal kernel."""
    import torch
    from transformers import DynamicCache

    caches: list[Any] = []
    logits = [torch.empty(0, backbone.model.config.vocab_size, device=backbone.device)]
    for prompt in prompts:
        _check(cancelled)
        caches.append(DynamicCache(config=backbone.model.config))
        ids = torch.tensor([list(prompt)], device=backbone.device)
        output = backbone.model(input_ids=ids, past_key_values=caches[-1], use_cache=True, logits_to_keep=1)
        logits.append(output.logits[:, -1])
    return caches, torch.cat(logits)


def _write(
    backbone: Backbone,
    prompts: Sequence[Sequence[int]],
    texts: Sequence[_Text],
    rows: list[int],
    caches: Sequence[Any],
    cancelled: Callable[[], bool],
) -> None:
    """Go on with the texts `rows`, of which each has its first token, until all have stopped."""
    import torch

    from webrec.models.decode_step import StepCache, step_of

    step = step_of(backbone.model)
    cache = StepCache([caches[n] for n in rows], max(texts[n].left for n in rows) + GUESSED_TOKENS)
    while len(rows) > 1:
        _check(cancelled)
        logits = step(torch.tensor([texts[n].ids[-1:] for n in rows], device=backbone.device), cache)[:, -1]
        tokens, nats = logits.argmax(-1).tolist(), entropy_of(logits).tolist()
        going = [at for at, n in enumerate(rows) if texts[n].take(tokens[at], nats[at])]
        if len(going) < len(rows):
            cache.keep(going)
            rows = [rows[at] for at in going]
    if not rows:
        return
    text = texts[rows[0]]
    lookup = PromptLookup([*prompts[rows[0]], *text.ids])
    while True:
        _check(cancelled)
        guess = lookup.guess(min(GUESSED_TOKENS, text.left - 1))
        held = cache.held
        logits = step(torch.tensor([[text.ids[-1], *guess]], device=backbone.device), cache)[0]
        tokens, nats = logits.argmax(-1).tolist(), entropy_of(logits).tolist()
        for read, (token, entropy) in enumerate(zip(tokens, nats, strict=True), 1):
            if not text.take(token, entropy):
                return
            lookup.add(token)
            if guess[read - 1 : read] != [token]:
                cache.held = held + read  # what was guessed beyond here is overwritten
                break
