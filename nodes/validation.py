"""Bad input as one sentence that names the field and the fix."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from webrec.errors import InputError
from webrec.nodes.schema import MAX_CANDIDATES, MAX_HISTORY, MAX_TITLE, RecommendInput, SearchOutcome
from webrec.tools.page import Page
from webrec.tools.text_safety import clean, normalised, storable

_SHOWN = 60


def first_error(error: ValidationError) -> str:
    """The first problem of a failed validation: `field: what is wrong`."""
    problem = error.errors(include_url=False, include_context=False)[0]
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]).lstrip(".")
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        message = "there is no such field; remove it or check its spelling"
    given = problem.get("input")
    shown = f" (given: {clean(repr(given), _SHOWN)})" if isinstance(given, str | int | float) else ""
    return f"{field}: {message}{shown}" if field else message


def check_input(data: Any) -> RecommendInput:
    """History and candidates as given, checked. Raises `InputError` with one sentence for the first problem found.

    Titles must be text of 1 to 1,000 visible characters; candidates must be distinct also after normalisation
    (case, compatibility forms, invisible characters). A `target` is ignored: it is never read before the ranking.
    """
    if isinstance(data, RecommendInput):
        data = data.model_dump()
    if not isinstance(data, dict):
        raise InputError("input: it is not an object; give one with history and candidates")
    history = _titles(data, "history", MAX_HISTORY)
    candidates = _titles(data, "candidates", MAX_CANDIDATES)
    seen: dict[str, int] = {}
    for index, title in enumerate(candidates):
        first = seen.setdefault(normalised(title), index)
        if first != index:
            raise InputError(
                f"candidates[{index}]: {clean(title, _SHOWN)!r} is the same title as candidates[{first}]; list each candidate once"
            )
    return RecommendInput(history=history, candidates=candidates)


def _titles(data: dict[str, Any], field: str, most: int) -> list[str]:
    titles = data.get(field)
    titles = list(titles) if isinstance(titles, list) else titles
    if titles is None:
        raise InputError(f"{field}: it is missing; give a list of titles")
    if not isinstance(titles, list):
        raise InputError(f"{field}: it is not a list; give a list of titles")
    if not titles:
        raise InputError(f"{field}: it is empty; give at least one title")
    if len(titles) > most:
        raise InputError(f"{field}: it has {len(titles):,} titles; give at most {most:,}")
    for index, title in enumerate(titles):
        if not isinstance(title, str):
            raise InputError(f"{field}[{index}]: it is {type(title).__name__}, not text; give the title as a string")
        titles[index] = title = storable(title)  # JSON can hold half a character, and no answer could then be written
        if not clean(title):
            raise InputError(f"{field}[{index}]: it has no visible character; give a title or remove it")
        if len(title) > MAX_TITLE:
            raise InputError(
                f"{field}[{index}]: it is {len(title):,} characters long; shorten it to at most {MAX_TITLE:,} characters"
            )
    return titles


def check_room(needed: int, limit: int) -> None:
    """Raise `InputError` if history and candidates need more tokens than there are."""
    if needed > limit:
        raise InputError(
            f"history and candidates: they need {needed:,} tokens and {limit:,} fit; "
            "give fewer or shorter titles, lower history_items, or take a backbone with a longer context"
        )


def check_keywords(given: Any) -> list[str]:
    """Keywords as a list; a text counts as its words. Raises `InputError` for anything else."""
    if isinstance(given, str):
        return given.split()
    if not isinstance(given, list) or not all(isinstance(word, str) for word in given):
        raise InputError("keywords: they are no texts; give a list of words")
    return given


def check_results(results: Any) -> list[dict[str, Any]]:
    """What searches found, as the state holds it. Raises `InputError` with one sentence for the first problem found."""
    if not isinstance(results, list):
        raise InputError("results: they are no list; give one object with outcome and pages for each provider")
    checked = []
    for place, result in enumerate(results):
        outcome = result.get("outcome") if isinstance(result, dict) else None
        if not isinstance(outcome, dict) or not isinstance(result.get("pages"), list):
            raise InputError(f"results[{place}]: it is no object with outcome and pages")
        pages = result["pages"]
        if not all(isinstance(page, dict) for page in pages):
            raise InputError(f"results[{place}].pages: they are no objects; give each with title and snippet")
        try:
            told = SearchOutcome.model_validate({"query": "", "found": len(pages)} | outcome)
            found = [Page.model_validate({"provider": told.provider} | page) for page in pages]
        except ValidationError as error:
            raise InputError(f"results[{place}]: {first_error(error)}") from None
        checked.append({"outcome": told.model_dump(), "pages": [page.model_dump() for page in found]})
    return checked
