"""What reading the web changes for one user: the same run with retrieval off and on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from webrec.api import Progress, recommend
from webrec.nodes.context import RunContext
from webrec.nodes.schema import Recommendation


@dataclass(frozen=True)
class RetrievalEffect:
    """The same request answered without and with the web."""

    off: Recommendation
    on: Recommendation

    def moves(self) -> list[tuple[str, int, int]]:
        """(title, rank without, rank with) of every candidate, in the order with the web."""
        before = {c.index: c.rank for c in self.off.ranking}
        return [(c.title, before[c.index], c.rank) for c in self.on.ranking]


def retrieval_effect(
    history: Sequence[str], candidates: Sequence[str], context: RunContext, on_progress: Progress | None = None
) -> RetrievalEffect:
    """Run twice; only the setting `retrieval` differs."""
    settings = context.model_dump()
    off = recommend(history, candidates, on_progress=on_progress, **{**settings, "retrieval": False})
    on = recommend(history, candidates, on_progress=on_progress, **{**settings, "retrieval": True})
    return RetrievalEffect(off, on)
