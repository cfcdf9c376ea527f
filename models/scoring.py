"""Log-likelihood of every candidate as the answer to one prompt, the prompt computed once.

Candidates are packed behind the prompt's cache in one sequence. Each restarts at the position after the prompt and
attends to the prompt and itself only, so packing changes no score beyond rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from webrec.errors import RunCancelled
from webrec.models.turns import turns_of

if TYPE_CHECKING:
    import torch
    from transformers import DynamicCache

    from webrec.models.backbone import Backbone

PACK_TOKENS = 512
_LOGIT_ROWS = 256


@dataclass(frozen=True)
class CandidateLikelihood:
    """Sum of a title's token log-likelihoods (nats) and how many tokens it has."""

    total: float
    tokens: int

    @property
    def mean(self) -> float:
        """Mean log-likelihood per token, in nats."""
        return self.total / self.tokens


def score_candidates(
    backbone: Backbone,
    prompt: Sequence[int],
    candidates: Sequence[Sequence[int]],
    *,
    pack_tokens: int = PACK_TOKENS,
    cancelled: Callable[[], bool] = lambda: False,
) -> list[CandidateLikelihood]:
    """`Σ_t ln P(c_t | prompt, c_<t)` for each candidate, in the order given.

    `prompt` and each candidate are non-empty token ids. At most `pack_tokens` candidate tokens are computed at a
    time (a longer single candidate still is), which bounds memory. Raises `ValueError` for an empty candidate,
    `RunCancelled` once `cancelled()` is true.
    """
    import torch

    if not prompt or any(not c for c in candidates):
        raise ValueError("prompt and candidates need at least one token each")
    turns = turns_of(backbone.device)
    results: list[CandidateLikelihood] = []
    with torch.inference_mode():
        with turns.take():
            read = _read(backbone, prompt)
        for pack in _packs(candidates, pack_tokens):
            if cancelled():
                raise RunCancelled("the run was cancelled while candidates were being scored")
            with turns.take():
                results += _score_pack(backbone, *read, pack)
    return results


def _read(backbone: Backbone, prompt: Sequence[int]) -> tuple[DynamicCache, int, torch.Tensor]:
    """The prompt's cache, its positions, and the log-probabilities of what follows it, shape (vocabulary)."""
    import torch
    from transformers import DynamicCache

    model, device = backbone.model, backbone.device
    cache = DynamicCache(config=model.config)
    inputs = model.model.embed_tokens(torch.tensor([list(prompt)], device=device))
    # The soft prompt is put in front here: PEFT's own forward drops the position ids that packing needs.
    virtual = inputs[0, :0] if backbone.soft_prompt is None else backbone.soft_prompt.to(inputs)
    inputs = torch.cat([virtual[None], inputs], 1)
    nodes = torch.arange(inputs.shape[1], device=device)[None] >= len(virtual)
    hidden = model.model(
        inputs_embeds=inputs, past_key_values=cache, use_cache=True, **_node_mask(backbone, nodes)
    ).last_hidden_state
    return cache, inputs.shape[1], model.lm_head(hidden[:, -1]).float().log_softmax(-1)[0]


def _node_mask(backbone: Backbone, nodes: torch.Tensor) -> dict[str, torch.Tensor]:
    """Which tokens a head reads; without one the model is not told."""
    return {"node_mask": nodes} if backbone.has_head else {}


def _packs(candidates: Sequence[Sequence[int]], limit: int) -> Iterator[list[Sequence[int]]]:
    pack: list[Sequence[int]] = []
    size = 0
    for candidate in candidates:
        if pack and size + len(candidate) > limit:
            yield pack
            pack, size = [], 0
        pack.append(candidate)
        size += len(candidate)
    if pack:
        yield pack


def _score_pack(
    backbone: Backbone, cache: DynamicCache, prompt_length: int, after_prompt: torch.Tensor, pack: list[Sequence[int]]
) -> list[CandidateLikelihood]:
    import torch

    model, device = backbone.model, after_prompt.device
    # The last token of a candidate predicts nothing that is scored, so it is not computed.
    inputs = [i for c in pack for i in c[:-1]]
    targets = torch.tensor([i for c in pack for i in c[1:]], device=device)
    totals = after_prompt[torch.tensor([c[0] for c in pack], device=device)].double()
    if inputs:
        owner = torch.tensor([n for n, c in enumerate(pack) for _ in c[:-1]], device=device)
        step = torch.tensor([s for c in pack for s in range(len(c) - 1)], device=device)
        hidden = model.model(
            input_ids=torch.tensor([inputs], device=device),
            position_ids=(prompt_length + step)[None],
            attention_mask=_pack_mask(owner, prompt_length, model.dtype),
            past_key_values=cache,
            use_cache=True,
            **_node_mask(backbone, torch.zeros_like(owner, dtype=torch.bool)[None]),
        ).last_hidden_state[0]
        cache.crop(-len(inputs))
        for start in range(0, len(inputs), _LOGIT_ROWS):
            rows = slice(start, start + _LOGIT_ROWS)
            log_p = model.lm_head(hidden[rows]).float().log_softmax(-1)
            totals.index_add_(0, owner[rows], log_p.gather(-1, targets[rows, None])[:, 0].double())
    return [CandidateLikelihood(t, len(c)) for t, c in zip(totals.tolist(), pack, strict=True)]


def _pack_mask(owner: torch.Tensor, prompt_length: int, dtype: torch.dtype) -> torch.Tensor:
    """Additive mask, shape (1, 1, tokens, prompt + tokens): the prompt, and earlier tokens of the same candidate."""
    import torch

    tokens = owner.shape[0]
    own = (owner[:, None] == owner[None, :]).tril()
    seen = torch.cat([own.new_ones(tokens, prompt_length), own], dim=1)
    mask = torch.zeros(seen.shape, dtype=dtype, device=owner.device)
    return mask.masked_fill(~seen, torch.finfo(dtype).min)[None, None]


def softmax(scores: Sequence[float]) -> list[float]:
    """Shares that sum to 1."""
    top = max(scores)
    weights = [math.exp(score - top) for score in scores]
    total = sum(weights)
    return [weight / total for weight in weights]
