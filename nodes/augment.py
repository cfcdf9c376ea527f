"""augment: put the pages into the prompt, shortened evenly where they do not fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast, get_args

from webrec.errors import InputError
from webrec.models.backbone import Backbone
from webrec.models.chat import ChatEncoder
from webrec.models.config import PromptForm
from webrec.nodes.context import RunContext
from webrec.nodes.edited import pages_of
from webrec.nodes.prompt import User, scoring_prompt, user_of
from webrec.nodes.query_strategies import query_of, retrieval_off
from webrec.nodes.run import Run, Update
from webrec.nodes.schema import PromptEvidence, RetrievalState
from webrec.nodes.state import State
from webrec.nodes.validation import check_room
from webrec.nodes.warnings import warn
from webrec.tools.reading.sentences import cut_at_sentence
from webrec.tools.text_safety import clean


def augment(state: State, run: Run) -> Update:
    """Write `prompt`, and into `pages` how much of each was kept.

    At most `pages` of them, also where somebody's own node or hand left more. History, candidates and instruction are never cut: if
    they alone do not fit, `InputError` is raised.
    """
    forgotten = _of_an_earlier_round(state, run)
    state = cast("State", {**state, **forgotten})
    backbone = run.scorer()  # whose soft prompt, if any, takes room
    user = user_of(state, run.context)
    limit = prompt_limit(run.context, backbone)
    found = pages_of(state)
    found, beyond = found[: run.context.pages], found[run.context.pages :]  # sift and rerank have cut already
    text, bodies = fit_pages(
        backbone.chat,
        user,
        [(p.title, p.body) for p in found],
        limit,
        run.context.page_tokens,
        run.context.pages_tokens,
        run.context.prompt_form,
    )
    pages = [
        page.model_copy(update={"kept": len(body), "rank": place})
        for place, (page, body) in enumerate(zip(found, bodies, strict=False), 1)
    ]
    shortened = sum(p.kept < len(p.body) for p in pages)
    prompt = PromptEvidence(
        text=text,
        tokens=len(backbone.chat.encode_turn(text)),
        limit=limit,
        history_used=len(user.history),
        pages_shortened=shortened,
        pages_dropped=len(found) - len(pages),
    )
    said = []
    if beyond:
        said.append(f"{run.context.pages} pages reach the prompt (setting pages): {len(beyond)} more were left out")
    if shortened or prompt.pages_dropped:
        caps = [
            ("the prompt", limit),
            ("each page", run.context.page_tokens),
            ("the pages' text", run.context.pages_tokens),
        ]
        stated = ", ".join(f"{what} is limited to {cap:,} tokens" for what, cap in caps if cap is not None)
        said.append(f"{stated}: {shortened} pages were shortened, {prompt.pages_dropped} left out")
    return {
        **forgotten,
        "pages": [p.model_dump() for p in pages],
        "prompt": prompt.model_dump(),
        "retrieval": "found" if found else _without_pages(state, run),
        **warn(state, "augment", said),
    }


def _of_an_earlier_round(state: State, run: Run) -> Update:
    """What a run that went back, and now searches for nothing, still holds of what it had searched for: all of it empty."""
    off = retrieval_off(run.context)
    asked = state["query"] or state["results"] or (off and (state["keywords"] or state["reasoning"]))
    if not asked or not (off or not query_of(state)):
        return {}
    empty: Update = {"results": None, "query": "", "searches": [], "pages": [], "left_out": []}
    empty |= warn(state, "collect", [])
    if off:
        empty |= {"reasoning": None, "keywords": []}
        empty |= warn(cast("State", {**state, **empty}), "reason", [])
    return empty


def _without_pages(state: State, run: Run) -> RetrievalState:
    """Why there is no page; those that somebody took out of a paused run were left out."""
    if retrieval_off(run.context):
        return "off"
    if not query_of(state):
        return "no_keywords"
    held: Any = state["retrieval"]
    if held not in get_args(RetrievalState):
        raise InputError(f"retrieval: {clean(repr(held), 60)} is unknown; use {', '.join(get_args(RetrievalState))}")
    return "left_out" if held == "found" else held


def prompt_limit(context: RunContext, backbone: Backbone) -> int:
    """Most tokens that prompt and answer may have together."""
    return min(context.prompt_tokens or backbone.context_length, backbone.context_length)


def prompt_room(chat: ChatEncoder, user: User, limit: int, form: PromptForm) -> int:
    """Most tokens of the prompt, so that the longest answer fits too. Raises `InputError` if it needs more without any page."""
    room = limit - max(len(chat.encode_answer(c)) for c in user.candidates)
    check_room(len(chat.encode_turn(scoring_prompt(user, [], form))), room)
    return room


def fit_pages(
    chat: ChatEncoder,
    user: User,
    pages: Sequence[tuple[str, str]],
    limit: int,
    page_tokens: int | None = None,
    pages_tokens: int | None = None,
    form: PromptForm = "request",
) -> tuple[str, list[str]]:
    """The prompt, and what it holds of each page's text; prompt and longest answer have at most `limit` tokens.

    `pages` are (title, text) pairs, best first. Every page gets the same cap on its tokens, the highest at which the
    prompt fits (binary search over the real token count), at most `page_tokens`, and `pages_tokens` for all texts
    together; a text that is cut ends with a sentence where it can. Only if titles alone do not fit are pages left out,
    the last ones first; the list is then shorter. Raises `InputError` if history and candidates alone do not fit.
    """
    room = prompt_room(chat, user, limit, form)

    titles = [title for title, _ in pages]
    texts = [text for _, text in pages]
    cutters = [chat.cutter(text) for text in texts]

    def body(page: int, cap: int) -> str:
        kept = cutters[page](cap)
        return kept if kept == texts[page] else cut_at_sentence(texts[page], len(kept))

    def build(count: int, cap: int) -> tuple[str, list[str]]:
        bodies = [body(page, cap) for page in range(count)]
        return scoring_prompt(user, list(zip(titles[:count], bodies, strict=True)), form), bodies

    def fits(count: int, cap: int) -> bool:
        prompt, bodies = build(count, cap)
        if pages_tokens is not None and sum(len(chat.encode(b)) for b in bodies) > pages_tokens:
            return False
        return len(chat.encode_turn(prompt)) <= room

    count = len(pages)
    while count and not fits(count, 0):
        count -= 1
    low, high = 0, max((len(chat.encode(text)) for text in texts[:count]), default=0)
    high = high if page_tokens is None else min(high, page_tokens)
    if fits(count, high):
        low = high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(count, middle) else (low, middle)
    return build(count, low)
