"""Where the target ends up."""

from __future__ import annotations

from collections.abc import Sequence

from webrec.nodes.schema import RankedCandidate


def target_rank(ranking: Sequence[RankedCandidate], target: str) -> int:
    """Rank of `target` from 1, ties broken against it. Raises `ValueError` if it is no candidate."""
    own = [c.score for c in ranking if c.title == target]
    if not own:
        raise ValueError("the target is not among the candidates")
    return sum(c.score >= own[0] for c in ranking)
