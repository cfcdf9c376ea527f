"""The inner state of a run: plain values only, so that any checkpointer can keep it."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

from webrec.nodes.schema import RetrievalState
from webrec.nodes.validation import check_keywords, check_results


def join_searches(held: list[dict[str, Any]], new: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    """Collect what searches running side by side report, the newest answer of each provider; None starts over (a new run).

    Raises `InputError` for what somebody put in that no search could have found.
    """
    if new is None:
        return []
    new = check_results(new)
    answered = {result["outcome"]["provider"] for result in new}
    return [result for result in held if result["outcome"]["provider"] not in answered] + new


def listed_keywords(held: list[str], new: Any) -> list[str]:
    """The newest keywords as a list, whoever put them in: the output must hold one. Raises `InputError` for what are none."""
    return check_keywords(new)


class State(TypedDict, total=False):
    """What the nodes hand on. Nested values are dumps of the models in `webrec.nodes.schema`."""

    history: list[str]
    candidates: list[str]
    reasoning: dict[str, Any] | None
    keywords: Annotated[list[str], listed_keywords]
    results: Annotated[list[dict[str, Any]], join_searches]
    """One entry per provider: its `SearchOutcome` under `outcome`, its pages under `pages`."""
    query: str
    searches: list[dict[str, Any]]
    pages: list[dict[str, Any]]
    left_out: list[dict[str, Any]]
    retrieval: RetrievalState
    prompt: dict[str, Any]
    ranking: list[dict[str, Any]]
    backbone: dict[str, Any]
    head: str
    crowd: dict[str, Any] | None
    settings: dict[str, Any]
    versions: dict[str, str]
    warnings: list[str]
    warned: dict[str, list[str]]
    """Which node said which of them (`webrec.nodes.warnings`)."""


class SearchTask(TypedDict):
    """What one search is handed when searches fan out."""

    provider: str
    query: str
    only: bool
    """Whether no other provider is asked."""
    settings: dict[str, Any]
