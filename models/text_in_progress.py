"""One text while it is being written: its tokens, their entropy and influence, and when it stops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from webrec.errors import ConfigurationError
from webrec.models.prompt_lookup import PromptLookup

if TYPE_CHECKING:
    import torch

    from webrec.models.decode_step import Watched

StopReason = Literal["end", "limit", "repetition"]

MAX_PERIOD = 32
REPEATS = 3
MIN_REPEATED_TOKENS = 12

FIRST_DRAFT = 6
LONGEST_DRAFT = 8
"""Tokens: a longer draft is wrong sooner, and costs its time all the same."""


def entropy_of(logits: torch.Tensor) -> torch.Tensor:
    """Shannon entropy in nats over the last axis: `-Σ_v P(v) ln P(v)`, computed in float32 (Eq. 3)."""
    log_p = logits.float().log_softmax(-1)
    p = log_p.exp()
    return -(p * log_p).masked_fill(p == 0, 0.0).sum(-1)


def refuse_nan(nats: Sequence[float]) -> None:
    """Raise `ConfigurationError` if an entropy is no number."""
    if any(map(math.isnan, nats)):
        raise ConfigurationError(
            "dtype: what the backbone computes is no number; give float32 or bfloat16, or another backbone"
        )


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


class TextInProgress:
    """What is written after `prompt`, at most `limit` tokens, none of `end_ids`.

    `watched`: where to look how much later tokens attend to earlier ones. Then the last token is read too before the text is `done`;
    until that it is `closing`. `withdrawn`: nobody waits for it any more. `error`: what computing raised. `drafted`: tokens of the next draft.
    """

    def __init__(self, prompt: Sequence[int], limit: int, end_ids: frozenset[int], watched: Watched | None) -> None:
        self.prompt, self.limit, self.watched = prompt, limit, watched
        self.ids: list[int] = []
        self.entropy: list[float] = []
        self.stop: StopReason = "limit"
        self.done = limit <= 0
        self.closing = self.withdrawn = False
        self.error: Exception | None = None
        self.end_ids = end_ids
        self.drafted = FIRST_DRAFT
        self._influence: torch.Tensor | None = None
        self._lookup: PromptLookup | None = None
        self._reported = 0

    def take(self, token: int, nats: float) -> None:
        """The next token, and the entropy of the distribution that produced it.

        Raises `ConfigurationError` if that is no number.
        """
        refuse_nan([nats])
        if token in self.end_ids:
            self.stop, self.done = "end", True
            return
        self.ids.append(token)
        self.entropy.append(nats)
        if self._lookup is not None:
            self._lookup.add(token)
        if repeats_itself(self.ids):
            self.stop = "repetition"
        elif len(self.ids) < self.limit:
            return
        self.closing = self.watched is not None and len(self.ids) > 1
        self.done = not self.closing

    @property
    def guessable(self) -> int:
        """How many tokens are worth guessing: the last one of all needs no guess."""
        return 0 if self.closing else self.limit - len(self.ids) - 1

    def looked_up(self, tokens: int, after: Sequence[int] = ()) -> list[int]:
        """At most `tokens` ids that may come next, or next after `after`, from what was read and written."""
        if self._lookup is None:
            self._lookup = PromptLookup([*self.prompt, *self.ids])
        return self._lookup.guess(min(tokens, self.guessable), after)

    def learn_from_draft(self, length: int, taken: int) -> None:
        """A draft of `length` tokens, of which `taken` were right: the next is longer if all were, and else as long as was right."""
        self.drafted = min(LONGEST_DRAFT, length + 1) if taken == length else max(1, taken)

    def watch(self, attention: torch.Tensor) -> None:
        """What the last token attends to, shape (tokens before it in this text)."""
        if self._influence is None:
            self._influence = attention.new_zeros(self.limit)
        seen = self._influence[: len(attention)]
        seen.copy_(seen.maximum(attention))

    @property
    def influence(self) -> list[float]:
        """`max_{j>i} A[j, i]` over the tokens of a watched text that is done, the last one 0 (Eq. 2)."""
        if self._influence is None:
            return [0.0] * len(self.ids)
        values: list[float] = self._influence[: len(self.ids)].tolist()
        return values

    def unreported(self) -> list[int]:
        """Tokens since the last call."""
        new = self.ids[self._reported :]
        self._reported += len(new)
        return new
