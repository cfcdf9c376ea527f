"""Where the web query comes from: the rivals of Fig. 4 and the paper's own keywords."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from webrec.errors import ConfigurationError, InputError
from webrec.nodes.context import RunContext
from webrec.nodes.edited import keywords_of
from webrec.nodes.prompt import User, query_prompt, request, taste_prompt
from webrec.nodes.state import State
from webrec.nodes.validation import check_keywords
from webrec.tools.text_safety import clean

NO_RETRIEVAL = "none"


@dataclass(frozen=True)
class QueryStrategy:
    """A way to the keywords whose join, separated by spaces, is the query; no keywords means no search.

    `question(user)` is what the backbone is asked first (None: it is not asked). `keywords(user, text, picked)` gets
    what it wrote and, if `reads_tokens`, the words picked from its tokens by Eq. 1-5; a text that it gives counts as its words.
    """

    keywords: Callable[[User, str, list[str]], list[str] | str]
    question: Callable[[User], str] | None = None
    reads_tokens: bool = False


def _first_line(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if line.strip()]
    return clean(lines[0]).strip("\"'“”").split() if lines else []


BUILTIN: Mapping[str, QueryStrategy] = {
    "keywords": QueryStrategy(lambda _user, _text, picked: picked, question=taste_prompt, reads_tokens=True),
    "llm": QueryStrategy(lambda _user, text, _picked: _first_line(text), question=query_prompt),
    "prompt": QueryStrategy(lambda user, _text, _picked: request(user).split()),
}


def strategy_of(context: RunContext, strategies: Mapping[str, QueryStrategy]) -> QueryStrategy | None:
    """The strategy of a run, None where retrieval is off. Raises `ConfigurationError` for an unknown name."""
    name = context.query_strategy
    if name != NO_RETRIEVAL and name not in strategies:
        known = ", ".join([*strategies, NO_RETRIEVAL])
        raise ConfigurationError(f"query_strategy: {name!r} is unknown; use one of {known}")
    return None if retrieval_off(context) else strategies[name]


def keywords_by(strategy: QueryStrategy, name: str, user: User, text: str, picked: list[str]) -> list[str]:
    """The keywords of the strategy `name`. Raises `ConfigurationError` for what it gives that are none."""
    given: Any = strategy.keywords(user, text, picked)
    try:
        return check_keywords(given)
    except InputError:
        what = "a list with something else" if isinstance(given, list) else type(given).__name__
        raise ConfigurationError(
            f"query_strategy: keywords of {name!r} gave {what}; give a list of words, or one text"
        ) from None


def question_by(strategy: QueryStrategy, name: str, user: User) -> str | None:
    """What the strategy `name` asks the backbone, if anything. Raises `ConfigurationError` for a question that is no text."""
    if strategy.question is None:
        return None
    asked: Any = strategy.question(user)
    if not isinstance(asked, str):
        raise ConfigurationError(f"query_strategy: question of {name!r} gave {type(asked).__name__}; give a text")
    return asked


def retrieval_off(context: RunContext) -> bool:
    """Whether the run reads no web at all."""
    return not context.retrieval or context.query_strategy == NO_RETRIEVAL


def query_of(state: State) -> str:
    """The web query: the keywords joined by spaces. Editing the keywords of a paused run edits the query.

    Raises `InputError` for keywords that are no texts.
    """
    return " ".join(keywords_of(state)).strip()
