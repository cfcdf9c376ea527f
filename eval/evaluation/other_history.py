"""A placebo for what a system knows of a user: the same candidates, but the history of somebody else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b

from webrec.errors import ConfigurationError
from webrec.eval.data.dataset import RankingExample


def with_other_histories(examples: Sequence[RankingExample]) -> list[RankingExample]:
    """The examples of one part and sampling, each with another user's history: users in an order by hash, the one half way round.

    Candidates are left out of it, as they are of one's own, if anything else is left. Raises `ConfigurationError` where there is one user alone.
    """
    histories = {example.user: example.history for example in examples}
    if len(histories) < 2:
        raise ConfigurationError("history: there is one user, so no other one's history to take; leave it out")
    ring = sorted(histories, key=lambda user: blake2b(user.encode()).digest())
    half = len(ring) // 2
    others = {user: histories[ring[(place + half) % len(ring)]] for place, user in enumerate(ring)}
    return [replace(example, history=_apart(others[example.user], example.candidates)) for example in examples]


def _apart(history: tuple[str, ...], candidates: Sequence[str]) -> tuple[str, ...]:
    return tuple(item for item in history if item not in candidates) or history
