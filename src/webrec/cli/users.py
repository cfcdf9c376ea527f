"""Users from a file: a JSON object, a JSON list of objects, or JSONL; checked as a whole before anything runs."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webrec.errors import InputError
from webrec.nodes.context import RunContext
from webrec.nodes.schema import RecommendInput
from webrec.nodes.validation import check_input
from webrec.tools.text_safety import clean


@dataclass(frozen=True)
class UserRecord:
    """One user of the file: what is ranked, and the target, which is looked at after the scores are final."""

    name: str
    request: RecommendInput
    target: str | None
    has_id: bool = False

    def key(self, context: RunContext) -> str:
        """Hash of request and settings: the same key is the same work."""
        work = json.dumps([self.request.model_dump(), context.model_dump(mode="json")], sort_keys=True)
        return hashlib.sha256(work.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def read_users(path: Path) -> list[UserRecord]:
    """All users of the file. Raises `InputError` naming line and field of the first problem."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path.name}: it cannot be read ({error.strerror}); give a JSON or JSONL file") from None
    except UnicodeDecodeError:
        raise InputError(f"{path.name}: it is not UTF-8 text; save it as UTF-8 JSON") from None
    if not text.strip():
        raise InputError(f"{path.name}: it is empty; give a JSON object with history and candidates")
    records = _parse(path.name, text)
    return [_user(where, record) for where, record in records]


def _parse(name: str, text: str) -> list[tuple[str, Any]]:
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError) as error:
        # Not splitlines(): a title may hold characters that end lines elsewhere.
        lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
        if len(lines) < 2 or text.lstrip().startswith("["):
            raise InputError(
                f"{name}: it is not JSON ({_position(error)}); give an object with history and candidates"
            ) from None
        return [(f"line {number}", _line(name, number, line)) for number, line in lines]
    if whole == []:
        raise InputError(f"{name}: it holds no user; give an object with history and candidates")
    return [(f"[{i}]", r) for i, r in enumerate(whole)] if isinstance(whole, list) else [("", whole)]


def _line(name: str, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name}: line {number} is not JSON ({_position(error)}); write one object a line") from None


def _position(error: ValueError | RecursionError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at line {error.lineno}, column {error.colno}"
    return "a number or nesting is too large"


def _user(where: str, record: Any) -> UserRecord:
    try:
        request = check_input(record)
    except InputError as error:
        raise InputError(f"{where}: {error}" if where else str(error)) from None
    target = record.get("target")
    name = record.get("id", record.get("name"))
    return UserRecord(
        name=clean(str(name), 60) if name is not None else (where or "user"),
        request=request,
        target=target if isinstance(target, str) and target in request.candidates else None,
        has_id=name is not None,
    )
