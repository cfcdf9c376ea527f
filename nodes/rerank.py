"""rerank: order the found pages by meaning and keep the best N."""

from __future__ import annotations

from webrec.models.kept_embeddings import encode_kept
from webrec.models.sentence_encoder import get_sentence_encoder
from webrec.nodes.edited import pages_of
from webrec.nodes.prompt import user_of
from webrec.nodes.run import Run, Update
from webrec.nodes.state import State
from webrec.tools.ranking.faiss_rerank import rerank_pages


def rerank(state: State, run: Run) -> Update:
    """Write `pages` anew: the N most like the query or the history, most similar first, unless diversity says otherwise."""
    context = run.context
    pages = pages_of(state)
    best = rerank_pages(
        [(p.title, p.body) for p in pages],
        context.pages,
        encode_kept(run.kept(), get_sentence_encoder(context.rerank_model)),
        query=state["query"],
        history=user_of(state, context).history,
        by=context.rerank_by,
        diversity=context.diversity,
    )
    kept = [pages[i].model_copy(update={"rank": n, "similarity": s}) for n, (i, s) in enumerate(best, 1)]
    return {"pages": [p.model_dump() for p in kept]}
