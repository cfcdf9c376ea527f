"""augment: put the pages into the prompt, shortened evenly where they do not fit."""

from __future__ import annotations

from webrec.models.chat import ChatEncoder
from webrec.nodes.prompt import User, scoring_prompt, user_of
from webrec.nodes.query_strategies import query_of, retrieval_off
from webrec.nodes.run import Run, Update
from webrec.nodes.schema import PageEvidence, PromptEvidence
from webrec.nodes.state import State
from webrec.nodes.validation import check_room


def augment(state: State, run: Run) -> Update:
    """Write `prompt`, and into `pages` how much of each was kept.

    History, candidates and instruction are never cut: if they alone do not fit, `InputError` is raised.
    """
    backbone = run.scorer()  # whose soft prompt, if any, takes room
    user = user_of(state, run.context)
    limit = min(run.context.prompt_tokens or backbone.context_length, backbone.context_length)
    longest_answer = max(len(backbone.chat.encode_answer(c)) for c in user.candidates)
    room = limit - longest_answer
    check_room(len(backbone.chat.encode_turn(scoring_prompt(user, []))), room)
    found = [PageEvidence.model_validate(p) for p in state["pages"]]
    pages, text = _fit(backbone.chat, user, found, room)
    shortened = sum(p.kept < len(p.snippet) for p in pages)
    prompt = PromptEvidence(
        text=text,
        tokens=len(backbone.chat.encode_turn(text)),
        limit=limit,
        history_used=len(user.history),
        pages_shortened=shortened,
        pages_dropped=len(found) - len(pages),
    )
    warnings = list(state["warnings"])
    if shortened or prompt.pages_dropped:
        warnings.append(
            f"the prompt is limited to {limit:,} tokens: {shortened} pages were shortened, {prompt.pages_dropped} left out"
        )
    retrieval = state["retrieval"]
    if retrieval_off(run.context):
        retrieval = "off"
    elif not query_of(state):
        retrieval = "no_keywords"
    return {
        "pages": [p.model_dump() for p in pages],
        "prompt": prompt.model_dump(),
        "retrieval": retrieval,
        "warnings": warnings,
    }


def _fit(chat: ChatEncoder, user: User, found: list[PageEvidence], room: int) -> tuple[list[PageEvidence], str]:
    """The pages with `kept` set and the prompt that holds them, in at most `room` tokens.

    Every page gets the same cap on its tokens, the highest at which the prompt fits (binary search over the real
    token count). Only if titles alone do not fit are pages left out, the last ones first.
    """

    def build(pages: list[PageEvidence], cap: int) -> tuple[list[str], str]:
        bodies = [chat.cut(p.snippet, cap) for p in pages]
        return bodies, scoring_prompt(user, [(p.title, b) for p, b in zip(pages, bodies, strict=True)])

    def fits(pages: list[PageEvidence], cap: int) -> bool:
        return len(chat.encode_turn(build(pages, cap)[1])) <= room

    pages = list(found)
    while pages and not fits(pages, 0):
        pages.pop()
    low, high = 0, max((len(chat.encode(p.snippet)) for p in pages), default=0)
    if fits(pages, high):
        low = high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(pages, middle) else (low, middle)
    bodies, text = build(pages, low)
    return [p.model_copy(update={"kept": len(b)}) for p, b in zip(pages, bodies, strict=True)], text
