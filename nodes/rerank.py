"""rerank: order the found pages by meaning and keep the best N."""

from __future__ import annotations

from webrec.models.sentence_encoder import get_sentence_encoder
from webrec.nodes.run import Run, Update
from webrec.nodes.schema import PageEvidence
from webrec.nodes.state import State
from webrec.tools.ranking.faiss_rerank import nearest


def rerank(state: State, run: Run) -> Update:
    """Write `pages` anew: the N whose title and text are nearest to the query, most similar first."""
    pages = [PageEvidence.model_validate(p) for p in state["pages"]]
    texts = [f"{p.title}. {p.snippet}" for p in pages]
    best = nearest(state["query"], texts, run.context.pages, get_sentence_encoder().encode)
    kept = [pages[i].model_copy(update={"rank": n, "similarity": s}) for n, (i, s) in enumerate(best, 1)]
    return {"pages": [p.model_dump() for p in kept]}
