"""fuse: what other users took, added to the scores as a prior."""

from __future__ import annotations

from webrec.errors import ConfigurationError
from webrec.models.scoring import softmax
from webrec.nodes.run import Run, Update
from webrec.nodes.schema import CrowdEvidence, RankedCandidate
from webrec.nodes.state import State


def fuse(state: State, run: Run) -> Update:
    """Write `ranking` by score + crowd_weight · log-odds of the crowd, and `crowd`. What the crowd does not know keeps its score."""
    from webrec.tools.crowd.prior import get_prior

    folder = run.context.crowd
    if folder is None:
        raise ConfigurationError("crowd: it is not set; give a folder made by webrec crowd")
    prior = get_prior(folder)
    scored = [RankedCandidate.model_validate(candidate) for candidate in state["ranking"]]
    found = prior.of(state["history"][-run.context.history_items :], [c.title for c in scored])
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
    known = sum(odds is not None for odds in found.log_odds)
    run.emit("crowd", candidates_known=known)
    evidence = CrowdEvidence(
        users=prior.users, items=prior.items, history_known=found.known_history, candidates_known=known
    )
    return {"ranking": [r.model_dump() for r in ranking], "crowd": evidence.model_dump()}
