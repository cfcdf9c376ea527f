"""Progress on standard error while a run goes on, only where that is a terminal."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.status import Status
from rich.text import Text

_DOING = {
    "prepare": "checking input, loading the backbone (fetched and converted the first time, about a minute)",
    "reason": "reasoning about the user",
    "extract": "picking keywords from the backbone's tokens",
    "search": "searching",
    "collect": "collecting pages",
    "fetch": "fetching the pages behind the results",
    "sift": "leaving out what may not be read",
    "rerank": "re-ranking pages",
    "augment": "building the prompt",
    "score": "scoring the candidates",
}


class StatusLine:
    """A line that is written over again and again, and taken away at the end."""

    def __init__(self, prefix: str = "") -> None:
        self._console = Console(stderr=True, highlight=False)
        self._prefix = prefix
        self._status: Status | None = None

    def __enter__(self) -> Self:
        """Show the line, where standard error is a terminal."""
        if self._console.is_terminal:
            self._status = self._console.status(Text(self._prefix + "starting"))
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the line away."""
        if self._status is not None:
            self._status.stop()

    def show(self, text: str) -> None:
        """Write over the line."""
        if self._status is not None:
            self._status.update(Text(self._prefix + text))

    def keep(self, text: str) -> None:
        """Write a line that stays, also where standard error is no terminal."""
        self._console.print(Text(text), soft_wrap=True)


class ProgressLine(StatusLine):
    """A status line fed with the graph's events."""

    def __call__(self, event: dict[str, Any]) -> None:
        """Show what the event says."""
        self.show(_described(event))


class UsersProgress(StatusLine):
    """The status line of several users: how many have ended, the time left at that pace, and what the last event said."""

    def __init__(self, users: int) -> None:
        super().__init__()
        self._users, self._ended = users, 0
        self._began = time.monotonic()

    def __call__(self, _place: int, event: dict[str, Any]) -> None:
        """Show what the event says."""
        self.show(_described(event))

    def ended(self) -> None:
        """Count one user more."""
        self._ended += 1
        if self._users > 1:
            left = (time.monotonic() - self._began) / self._ended * (self._users - self._ended)
            self._prefix = f"[{self._ended}/{self._users}, {round(left):,} s left] "


def _described(event: dict[str, Any]) -> str:
    doing = _DOING.get(str(event.get("node")), str(event.get("node")))
    if event.get("event") == "token":
        return f"{doing}, token {event['count']} of at most {event['limit']}"
    if event.get("event") == "scoring":
        return f"{doing}: {event['candidates']} against {event['prompt_tokens']:,} prompt tokens"
    return doing
