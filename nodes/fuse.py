"""fuse: what other users took, added to the scores as a prior."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from webrec.errors import ConfigurationError
from webrec.models.scoring import softmax
from webrec.nodes.run import Run, Update
from webrec.nodes.schema import CrowdEvidence, RankedCandidate
from webrec.nodes.state import State
from webrec.nodes.warnings import warn

if TYPE_CHECKING:
    from webrec.tools.crowd.prior import Embed, Prior
    from webrec.tools.crowd.similarity import Vectors


def fuse(state: State, run: Run) -> Update:
    """Write `ranking` by score + crowd_weight · log-odds of the crowd, and `crowd`. What the crowd can tell nothing of keeps its score."""
    from webrec.tools.crowd.prior import get_prior

    folder = run.context.crowd
    if folder is None:
        raise ConfigurationError("crowd: it is not set; give a folder made by webrec crowd")
    prior = get_prior(folder)
    scored = [RankedCandidate.model_validate(candidate) for candidate in state["ranking"]]
    history, titles = state["history"][-run.context.history_items :], [c.title for c in scored]
    found = prior.of(history, titles, embed=_encoder(run) if run.context.crowd_reads_new else None)
    fused = [
        c.score if odds is None else c.score + run.context.crowd_weight * odds
        for c, odds in zip(scored, found.log_odds, strict=True)
    ]
    probabilities = softmax(fused)
    order = sorted(range(len(scored)), key=lambda n: -fused[n])  # equal ones stay in the order of their scores
    ranking = [
        scored[n].model_copy(
            update={"rank": rank, "crowd": found.log_odds[n], "fused": fused[n], "probability": probabilities[n]}
        )
        for rank, n in enumerate(order, 1)
    ]
    known = sum(odds is not None for odds in found.log_odds) - found.by_text
    run.emit("crowd", candidates_known=known, candidates_read=found.by_text)
    evidence = CrowdEvidence(
        users=prior.users,
        items=prior.items,
        history_known=found.known_history,
        candidates_known=known,
        candidates_read=found.by_text,
    )
    return {
        "ranking": [r.model_dump() for r in ranking],
        "crowd": evidence.model_dump(),
        **warn(state, "fuse", _unknown(found, known)),
    }


def _unknown(found: Prior, candidates_known: int) -> list[str]:
    """A warning, if the crowd knows nothing of the history or of the candidates."""
    counts = {"no item of the history": found.known_history, "none of the candidates": candidates_known}
    unknown = [what for what, count in counts.items() if count == 0]
    if not unknown:
        return []
    effect = ", so it changed no score" if all(odds is None for odds in found.log_odds) else ""
    return [f"the crowd knows {' and '.join(unknown)}{effect}; titles must be written as in its data"]


def _encoder(run: Run) -> Embed:
    """The sentence encoder that crowds are made with; loaded when something is to be read."""

    def embed(texts: Sequence[str]) -> Vectors:
        from webrec.models.kept_embeddings import encode_kept
        from webrec.models.sentence_encoder import MINILM, get_sentence_encoder

        return encode_kept(run.kept(), get_sentence_encoder(MINILM))(texts)

    return embed
