"""Users from a file or standard input: a JSON object, a JSON list of objects, or JSONL; checked as a whole before anything runs."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from webrec.errors import InputError
from webrec.nodes.context import RunContext
from webrec.nodes.schema import RecommendInput
from webrec.nodes.validation import check_input
from webrec.tools.text_safety import clean

STANDARD_INPUT = "-"
NAMES = ("id", "user_id", "name")
"""Fields that name a user; the first that is there does."""
FIELDS = ("history", "candidates", "target", *NAMES)
"""What is read of a user."""


@dataclass(frozen=True)
class UserRecord:
    """One user of the file: what is ranked, and the target, which is looked at after the scores are final.

    `missed`: a target was given that is none of the candidates.
    """

    name: str
    request: RecommendInput
    target: str | None
    has_id: bool = False
    missed: bool = False

    def key(self, context: RunContext) -> str:
        """Hash of request and settings: the same key is the same work."""
        work = json.dumps([self.request.model_dump(), context.model_dump(mode="json")], sort_keys=True)
        return hashlib.sha256(work.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def read_users(file: str) -> list[UserRecord]:
    """All users of the file, `-` for standard input. Raises `InputError` naming file, line and field of the first problem."""
    name = "standard input" if file == STANDARD_INPUT else Path(file).name or file
    try:
        read = sys.stdin.buffer.read() if file == STANDARD_INPUT else Path(file).read_bytes()
        text = read.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{name}: it cannot be read ({error.strerror}); give a JSON or JSONL file") from None
    except UnicodeDecodeError:
        raise InputError(f"{name}: it is not UTF-8 text; save it as UTF-8 JSON") from None
    if not text.strip():
        raise InputError(f"{name}: it is empty; give a JSON object with history and candidates")
    return [_user(name, where, record) for where, record in _parse(name, text)]


def _parse(name: str, text: str) -> list[tuple[str, Any]]:
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError) as error:
        # Not splitlines(): a title may hold characters that end lines elsewhere.
        lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
        if len(lines) < 2 or text.lstrip().startswith("["):
            raise InputError(
                f"{name}: it is not JSON ({_reason(error, 'line {}, column {}')}); give an object with history and candidates"
            ) from None
        return [(f"line {number}", _line(name, number, line)) for number, line in lines]
    if whole == []:
        raise InputError(f"{name}: it holds no user; give an object with history and candidates")
    return [(f"[{i}]", r) for i, r in enumerate(whole)] if isinstance(whole, list) else [("", whole)]


def _line(name: str, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        why = _reason(error, "column {1}")  # of this line, whatever the decoder calls it
        raise InputError(f"{name}: line {number} is not JSON ({why}); write one object a line") from None


def _reason(error: ValueError | RecursionError, place: str) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg}: {place.format(error.lineno, error.colno)}"
    return "a number or nesting is too large"


def _user(file: str, where: str, record: Any) -> UserRecord:
    try:
        if isinstance(record, dict):
            _check_fields(record)
        request = check_input(record)
    except InputError as error:
        raise InputError(": ".join(filter(None, (file, where, str(error))))) from None
    target = record.get("target")
    name = next((record[field] for field in NAMES if record.get(field) is not None), None)
    known = isinstance(target, str) and target in request.candidates
    return UserRecord(
        name=clean(str(name), 60) if name is not None else (where or "user"),
        request=request,
        target=target if known else None,
        has_id=name is not None,
        missed=target is not None and not known,
    )


def _check_fields(record: dict[str, Any]) -> None:
    """Raise `InputError` for a misspelled field, which would be left out without a word; whatever else a user has is not read."""
    for field in record:
        meant = [] if field in FIELDS else get_close_matches(field, FIELDS, n=1, cutoff=0.8)
        if meant:
            raise InputError(f"{clean(field, 60)}: there is no such field; write {meant[0]}, or give it another name")
