"""What people changed in a paused run, checked when a node reads it: each function raises `InputError` with one sentence."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from webrec.errors import InputError
from webrec.nodes.schema import PageEvidence, Reasoning
from webrec.nodes.state import State
from webrec.nodes.validation import check_keywords, first_error
from webrec.tools.text_safety import clean

EDITED = "edited"
"""Provider of a page that was put in by hand and names none."""


def keywords_of(state: State) -> list[str]:
    """The keywords; a text counts as its words."""
    return check_keywords(state["keywords"])


def reasoning_of(state: State) -> Reasoning | None:
    """What was written about the user; a text, or an object with text alone, is one whose tokens are not known yet."""
    given: Any = state.get("reasoning")
    if given is None:
        return None
    told = {"text": given} if isinstance(given, str) else given
    if not isinstance(told, dict):
        raise InputError("reasoning: it is no object; give one with text")
    try:
        return Reasoning.model_validate({"stop": "end", "tokens": []} | told)
    except ValidationError as error:
        raise InputError(f"reasoning.{first_error(error)}") from None


def pages_of(state: State) -> list[PageEvidence]:
    """The pages. One that was put in needs title and snippet, or text; what else a search tells of a page may be left out."""
    given: Any = state["pages"]
    if not isinstance(given, list) or not all(isinstance(page, dict) for page in given):
        raise InputError("pages: they are no list of objects; give each page with title and snippet")
    pages = []
    for place, page in enumerate(given):
        told = {"title": "", "url": "", "snippet": "", "provider": EDITED, "score": None, "time": "", "rank": place + 1}
        try:
            pages.append(PageEvidence.model_validate(told | {"found_rank": place + 1} | page))
        except ValidationError as error:
            raise InputError(f"pages[{place}].{first_error(error)}") from None
    return pages


def prompt_text_of(state: State) -> str:
    """The text of the prompt."""
    prompt: Any = state["prompt"]
    text = prompt.get("text") if isinstance(prompt, dict) else prompt
    if not isinstance(text, str) or not clean(text):
        raise InputError("prompt: it holds no text; give an object with text")
    return text
