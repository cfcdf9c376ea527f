"""Runs that are no prose in any language: encoded text, and the symbols of strings that a search optimised against a model."""

from __future__ import annotations

import re
from collections.abc import Iterator

_RUN = re.compile(r"(?<![\w+/=])[A-Za-z0-9+/]{40,}+={0,2}+|(?<![\w-])[0-9A-Fa-f]{48,}+")
# Where prose has no symbol: an opening bracket before a mark, two symbols in a row, a letter grown together with either.
_SYMBOLS = re.compile(
    r"[({\[][^\w\s'\"({\[]|[{}\[\]()\\^$`_*|~]{2,}+|[a-z](?:[({\[\\^$`*|~]|[A-Z1])|[)}\]\\^$`*|~][A-Za-z]"
)
_COMMON = frozenset(".,;:'\"!?->@")
WINDOW, CLUSTERS, KINDS = 120, 4, 4
"""So many such places, of so many different symbols, within so many characters."""


def encoded_runs(text: str) -> Iterator[tuple[int, int]]:
    """Places that look like base64 or hexadecimal."""
    for run in _RUN.finditer(text):
        found = run[0]
        mixed = any(c.isdigit() for c in found) and any(c.islower() for c in found) and any(c.isupper() for c in found)
        if (mixed and found.count("/") * 12 <= len(found)) or (len(found) >= 48 and _is_hexadecimal(found)):
            yield run.span()


def _is_hexadecimal(run: str) -> bool:
    return len(set(run)) > 4 and not set(run) - set("0123456789abcdefABCDEF") and any(c.isdigit() for c in run)


def symbol_runs(text: str) -> Iterator[tuple[int, int]]:
    """Places dense with clusters of brackets and symbols of many kinds."""
    clusters = [match.span() for match in _SYMBOLS.finditer(text)]
    passed = 0
    for first in range(len(clusters) - CLUSTERS + 1):
        start, end = clusters[first][0], clusters[first + CLUSTERS - 1][1]
        if start < passed or end - start > WINDOW:
            continue
        if len({c for c in text[start:end] if not (c.isalnum() or c.isspace() or c in _COMMON)}) >= KINDS:
            yield start, end
            passed = end
