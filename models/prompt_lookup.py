"""Guesses of what comes next, from what was already read or written ("prompt lookup decoding", Saxena 2023).

A guess is only ever checked: the model reads it in the same pass that it needs anyway, and what it would not have written is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence

LENGTHS = (3, 2)
"""Words in a row that must have occurred before, the longer match first."""


class PromptLookup:
    """What followed the last tokens when they occurred before."""

    def __init__(self, prompt: Sequence[int]) -> None:
        self._ids: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}
        self._waiting: list[tuple[int, ...]] = []
        for token in prompt:
            self.add(token)

    def add(self, token: int) -> None:
        """Take note of the next token."""
        for key in self._waiting:
            self._after[key] = len(self._ids)
        self._ids.append(token)
        self._waiting = [tuple(self._ids[-n:]) for n in LENGTHS if len(self._ids) >= n]

    def guess(self, tokens: int, after: Sequence[int] = ()) -> list[int]:
        """At most `tokens` ids that followed the last occurrence of the current end; empty if it never occurred.

        `after`: what comes after all tokens noted so far, without being noted.
        """
        end = [*self._ids[-LENGTHS[0] :], *after]
        for n in LENGTHS:
            if len(end) >= n and (begin := self._after.get(tuple(end[-n:]))) is not None:
                return self._ids[begin : begin + tokens]
        return []
