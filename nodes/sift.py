"""sift: what of the found pages is read: the leakage rules, near-duplicates, instruction-like passages."""

from __future__ import annotations

from webrec.nodes.edited import pages_of
from webrec.nodes.run import Run, Update
from webrec.nodes.schema import LeftOutPage, LeftOutReason, PageEvidence
from webrec.nodes.state import State
from webrec.nodes.validation import check_input
from webrec.tools.reading.duplicates import near_duplicates
from webrec.tools.reading.instructions import flags
from webrec.tools.reading.leakage import LeakageRules, judge


def sift(state: State, run: Run) -> Update:
    """Write `pages` anew, and into `left_out` what was found and is not read. Without re-ranking only the first N stay.

    Raises `ConfigurationError` for a `pages_before` that is no date.
    """
    context = run.context
    rules = LeakageRules.of(context)
    candidates = check_input(dict(state)).candidates
    pages, left_out = [], []

    def leave(page: PageEvidence, reason: LeftOutReason) -> None:
        left_out.append(LeftOutPage(**page.model_dump(include=set(LeftOutPage.model_fields)), reason=reason))

    for page in pages_of(state):
        verdict = judge(page, rules)
        if verdict != "ok":
            leave(page, verdict)
            continue
        found = sorted({flag.kind for flag in flags(page.title, page.body, candidates)})
        if found and context.drop_flagged:
            leave(page, "flagged")
        else:
            pages.append(page.model_copy(update={"flags": found}))
    repeats = (
        near_duplicates([f"{p.title}. {p.body}" for p in pages]) if context.near_duplicates else [None] * len(pages)
    )
    for page, repeated in zip(pages, repeats, strict=True):
        if repeated is not None:
            leave(page, "near_duplicate")
    kept = [page for page, repeated in zip(pages, repeats, strict=True) if repeated is None]
    if not context.rerank:
        kept = kept[: context.pages]
    kept = [page.model_copy(update={"rank": n}) for n, page in enumerate(kept, 1)]
    run.emit("sifted", kept=len(kept), left_out=len(left_out))
    return {
        "pages": [p.model_dump() for p in kept],
        "left_out": [p.model_dump() for p in left_out],
        "retrieval": "found" if kept else "left_out",
    }
