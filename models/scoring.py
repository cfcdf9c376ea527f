"""Log-likelihood of every candidate as the answer to one prompt, the prompt computed once.

Candidates are packed behind the prompt in one sequence. Each restarts at the position after the prompt and attends to the
prompt and itself only, so packing changes no score beyond rounding. One pass computes all of it where the candidates fit into
one pack; else packs follow behind the prompt's cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from webrec.errors import ConfigurationError, RunCancelled
from webrec.models.packed_attention import PackLayout, for_packs
from webrec.models.turns import turns_of
from webrec.models.vocabulary import log_probabilities

if TYPE_CHECKING:
    import torch

    from webrec.models.backbone import Backbone
    from webrec.models.config import ScoreBy

PACK_TOKENS = 1024
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


def scores_of(
    given: Sequence[CandidateLikelihood], alone: Sequence[CandidateLikelihood] | None, by: ScoreBy
) -> list[float]:
    """What ranks the candidates, in nats. `alone`: of the same titles for a user of whom nothing is known; `by` pmi needs it.

    pmi: `ln P(c | user) − ln P(c)`, pointwise mutual information: what a title is likely to be for anyone does not count (Holtzman
    et al. 2021).
    """
    if by == "pmi":
        if alone is None:
            raise ValueError("pmi needs the likelihoods for a user of whom nothing is known")
        return [mine.total - anyones.total for mine, anyones in zip(given, alone, strict=True)]
    return [likelihood.mean if by == "mean" else likelihood.total for likelihood in given]


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
    `ConfigurationError` if the backbone's numbers overflow, `RunCancelled` once `cancelled()` is true.
    """
    import torch

    if not prompt or any(not c for c in candidates):
        raise ValueError("prompt and candidates need at least one token each")
    turns = turns_of(backbone.device)
    results: list[CandidateLikelihood] = []
    packs = list(_packs(candidates, pack_tokens))
    with torch.inference_mode():
        asked = _Asked(backbone, prompt, keep=len(packs) > 1)
        for pack in packs:
            if cancelled():
                raise RunCancelled("the run was cancelled while candidates were being scored")
            with turns.take():
                results += asked.score(pack)
    return results


def score_together(
    backbone: Backbone, asked: Sequence[tuple[Sequence[int], Sequence[Sequence[int]]]]
) -> list[list[CandidateLikelihood]]:
    """`score_candidates` of each prompt and its candidates, all in one padded batch: what keeps a GPU busy, and is no gain on a CPU.

    Equal up to rounding. Memory grows with the square of the longest. Raises as `score_candidates` does.
    """
    import torch

    from webrec.models.packing import EncodedExample, pack, packed_likelihoods

    examples = [EncodedExample("", prompt, candidates, 0) for prompt, candidates in asked]
    soft_prompt = backbone.soft_prompt
    batch = pack(examples, 0 if soft_prompt is None else len(soft_prompt), backbone.device)
    with torch.inference_mode(), turns_of(backbone.device).take():
        totals = packed_likelihoods(backbone.model, batch, soft_prompt, has_head=backbone.has_head)
        told = iter(_told(totals, [c for e in examples for c in e.candidates], backbone.model.dtype))
    return [[next(told) for _ in e.candidates] for e in examples]


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


class _Asked:
    """A prompt to which packs of candidates are answers. With `keep` its cache is kept from one pack to the next."""

    def __init__(self, backbone: Backbone, prompt: Sequence[int], *, keep: bool) -> None:
        from transformers import DynamicCache

        self._backbone, self._decoder = backbone, for_packs(backbone.model)
        self._prompt, self._read = list(prompt), 0
        self._cache = DynamicCache(config=backbone.model.config) if keep else None
        self._last: torch.Tensor | None = None

    def score(self, pack: Sequence[Sequence[int]]) -> list[CandidateLikelihood]:
        """The likelihoods of the candidates of `pack`."""
        import torch

        if self._cache is None:
            hidden = self._pass(self._prompt, pack)
        else:
            if self._last is None:
                self._last = self._pass(self._prompt, [])
                self._read = self._cache.get_seq_length()
            hidden = self._last
            if any(len(c) > 1 for c in pack):
                hidden = torch.cat([hidden, self._pass([], pack)])
                self._cache.crop(self._read - self._cache.get_seq_length())
        return _likelihoods(self._backbone.model.lm_head, hidden, pack)

    def _pass(self, prompt: Sequence[int], pack: Sequence[Sequence[int]]) -> torch.Tensor:
        """Hidden states of the last of `prompt` and of all candidates' tokens less the last ones, shape (tokens, hidden)."""
        import torch

        backbone, device = self._backbone, self._backbone.device
        # The last token of a candidate predicts nothing that is scored, so it is not computed.
        ids = [*prompt, *(i for c in pack for i in c[:-1])]
        inputs = backbone.model.model.embed_tokens(torch.tensor([ids], device=device))
        if prompt and backbone.soft_prompt is not None:
            # Put in front here: PEFT's own forward drops the position ids that packing needs.
            inputs = torch.cat([backbone.soft_prompt.to(inputs)[None], inputs], 1)
        lengths = [len(c) - 1 for c in pack]
        own = sum(lengths)
        read = inputs.shape[1] - own
        after = torch.tensor([step for length in lengths for step in range(length)], dtype=torch.long, device=device)
        after += read + self._read
        layout = PackLayout.of(lengths, read + self._read, device, inputs.dtype)
        # Which tokens a head reads; without one the model is not told.
        nodes = torch.arange(inputs.shape[1], device=device)[None]
        nodes = (nodes >= read - len(prompt)) & (nodes < read)
        hidden: torch.Tensor = self._decoder(
            inputs_embeds=inputs,
            position_ids=torch.cat([torch.arange(read, device=device), after])[None],
            past_key_values=self._cache,
            use_cache=self._cache is not None,
            pack=layout,
            **({"node_mask": nodes} if backbone.has_head else {}),
        ).last_hidden_state[0]
        return hidden[-(own + min(read, 1)) :]


def _likelihoods(
    head: Callable[[torch.Tensor], torch.Tensor], hidden: torch.Tensor, pack: Sequence[Sequence[int]]
) -> list[CandidateLikelihood]:
    """Of each candidate of `pack`. The first of `hidden` predicts all first tokens, the others one of the later ones each."""
    import torch

    first, later = [c[0] for c in pack], [i for c in pack for i in c[1:]]
    owner = [*range(len(pack)), *(n for n, c in enumerate(pack) for _ in c[1:])]
    tokens = torch.tensor([*first, *later], device=hidden.device)
    owners = torch.tensor(owner, device=hidden.device)
    by = (torch.arange(len(owner), device=hidden.device) - len(pack) + 1).clamp(min=0)
    totals = torch.zeros(len(pack), dtype=torch.float64, device=hidden.device)
    for start in range(0, len(hidden), _LOGIT_ROWS):
        block = hidden[start : start + _LOGIT_ROWS]
        mine = slice(start + len(pack) - 1 if start else 0, start + len(block) + len(pack) - 1)
        log_p = log_probabilities(head, block, by[mine] - start, tokens[mine])
        totals.index_add_(0, owners[mine], log_p.double())
    return _told(totals, pack, hidden.dtype)


def _told(totals: torch.Tensor, candidates: Sequence[Sequence[int]], dtype: torch.dtype) -> list[CandidateLikelihood]:
    if not bool(totals.isfinite().all()):
        raise ConfigurationError(
            f"dtype: the likelihoods that the backbone computes in {str(dtype).removeprefix('torch.')} are no numbers; give float32 "
            "or bfloat16, or another backbone or adapter"
        )
    return [CandidateLikelihood(t, len(c)) for t, c in zip(totals.tolist(), candidates, strict=True)]


def softmax(scores: Sequence[float]) -> list[float]:
    """Shares that sum to 1."""
    top = max(scores)
    weights = [math.exp(score - top) for score in scores]
    total = sum(weights)
    return [weight / total for weight in weights]
