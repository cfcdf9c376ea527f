"""Examples to train on and to validate with: a JSONL file, and its rows as the token ids that the graph would score."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, field_validator

from webrec.errors import InputError
from webrec.eval.train_config import PromptConfig
from webrec.models.packing import EncodedExample
from webrec.nodes.augment import fit_pages
from webrec.nodes.collect import interleave
from webrec.nodes.prompt import User, prompt_order
from webrec.nodes.validation import check_input, first_error
from webrec.tools.page import Page
from webrec.tools.text_safety import clean

if TYPE_CHECKING:
    from webrec.models.chat import ChatEncoder


class ExamplePage(BaseModel):
    """A web page as it was found for the user."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str = Field(description="Title of the page.")
    text: str = Field(description="What the search returned of the page.")
    url: str = Field(default="", description="Address, only used to drop a page that is there twice.")


class Example(BaseModel):
    """One user: what they took, what they could take next, what they did take, and the pages found for them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    history: list[str] = Field(description="Titles the user took, oldest first.")
    candidates: list[str] = Field(description="Distinct titles to rank, the taken one among them.")
    target: str = Field(description="The candidate that was taken, spelled as in candidates.")
    pages: list[ExamplePage] = Field(default=[], description="Pages that were found, best first.")
    key: str | None = Field(
        default=None,
        validation_alias=AliasChoices("key", "id"),
        description="Name of the row in messages, also accepted as id; its line number if there is none.",
    )

    @field_validator("key", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) else value


def read_examples(path: Path, field: str) -> list[Example]:
    """All rows of a JSONL file that the setting `field` names.

    Raises `InputError` naming setting, file, line and field of the first problem.
    """
    try:
        lines = path.read_bytes().decode("utf-8-sig").split("\n")
    except OSError as error:
        raise InputError(f"{field}: {path} cannot be read ({error.strerror}); give a JSONL file") from None
    except UnicodeDecodeError:
        raise InputError(f"{field}: {path} is not UTF-8 text; save it as UTF-8 JSONL") from None
    examples = [
        _parse(line, number, f"{field}: {path.name}, line {number}")
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    if not examples:
        raise InputError(f"{field}: {path} holds no example; give one JSON object a line")
    return examples


def _parse(line: str, number: int, where: str) -> Example:
    try:
        data: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = (
            f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else "too deep or large"
        )
        raise InputError(f"{where}: it is not JSON ({reason}); write one object a line") from None
    try:
        checked = check_input(data)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    try:
        example = Example.model_validate({"key": f"line {number}", **data} if "id" not in data else data)
    except ValidationError as error:
        raise InputError(f"{where}: {first_error(error)}") from None
    if example.target not in checked.candidates:
        raise InputError(
            f"{where}: target: {clean(example.target, 60)!r} is not one of the candidates; spell it as there, or add it"
        )
    return example


def encode_example(chat: ChatEncoder, example: Example, prompt: PromptConfig, limit: int) -> EncodedExample:
    """The token ids that the graph's augment and score make for this user and these pages, in at most `limit` tokens.

    Raises `InputError` if history and candidates alone need more, or a title has no token.
    """
    encoded, answers = encode_user(chat, user_of_example(example, prompt), _pages(example, prompt.pages), prompt, limit)
    return EncodedExample(
        key=example.key or "",
        prompt=_compact(encoded),
        candidates=[_compact(answer) for answer in answers],
        target=prompt_order(example.candidates, prompt.seed).index(example.candidates.index(example.target)),
    )


def encode_user(
    chat: ChatEncoder, user: User, pages: Sequence[tuple[str, str]], prompt: PromptConfig, limit: int
) -> tuple[list[int], list[list[int]]]:
    """The ids of the prompt with `pages` (title, text), and of each of the user's candidates as its answer.

    Raises `InputError` if history and candidates alone need more than `limit`, or a title has no token.
    """
    text, _ = fit_pages(chat, user, pages, limit, prompt.page_tokens, prompt.pages_tokens, prompt.prompt_form)
    answers = [chat.encode_answer(title) for title in user.candidates]
    for title, answer in zip(user.candidates, answers, strict=True):
        if not answer:
            raise InputError(f"candidates: {clean(title, 60)!r} has no token in this backbone; give another title")
    return chat.encode_turn(text), answers


def encode_examples(
    chat: ChatEncoder,
    examples: Sequence[Example],
    prompt: PromptConfig,
    limit: int,
    where: str,
    progress: Callable[[int], None] = lambda _: None,
) -> list[EncodedExample]:
    """All of them; `progress` hears how many are done. `where` and the row's key begin the message of an `InputError`."""
    encoded = []
    for example in examples:
        try:
            encoded.append(encode_example(chat, example, prompt, limit))
        except InputError as error:
            raise InputError(f"{where}, {clean(example.key or '', 60)}: {error}") from None
        progress(len(encoded))
    return encoded


def user_of_example(example: Example, prompt: PromptConfig) -> User:
    """The user of a row, as prompts show them."""
    return User.of(
        example.history,
        example.candidates,
        history_items=prompt.history_items,
        seed=prompt.seed,
        title_words=prompt.title_words,
    )


def _pages(example: Example, limit: int) -> list[tuple[str, str]]:
    """(title, text) as search and collect leave what a provider finds: cleaned, cut to the same lengths, nothing twice."""
    found = [Page(title=p.title, snippet=p.text, url=p.url, provider="examples") for p in example.pages[:limit]]
    return [(page["title"], page["snippet"]) for page in interleave([[p.model_dump() for p in found]])]


def _compact(ids: list[int]) -> array[int]:
    """A ninth of the memory of a list."""
    return array("i", ids)
