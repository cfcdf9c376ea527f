"""What callers of the Python API and the command line give, made what the graph takes: settings and titles."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from datetime import date
from typing import Any

from webrec.errors import ConfigurationError
from webrec.nodes.context import RunContext, make_context


def context_of(context: object, settings: Mapping[str, Any]) -> RunContext:
    """The context of a run: `settings` by name, in place of those of `context` (a `RunContext`, or None for the defaults).

    A path may be a `Path`, a day or time a `date`. Raises `ConfigurationError` naming the first wrong setting.
    """
    if context is not None and not isinstance(context, RunContext):
        raise ConfigurationError(
            f"context: it is {type(context).__name__}, not a RunContext; give one, or the settings by name"
        )
    given = {name: _plain(value) for name, value in settings.items()}
    if "providers" in given and _empty(given["providers"]):
        raise ConfigurationError("providers: none is named; name at least one, or turn retrieval off")
    if isinstance(context, RunContext):
        return make_context({**context.model_dump(), **given}) if given else context
    return make_context(given)


def listed(titles: Any, *, ordered: bool = False) -> Any:
    """Any iterable of titles as a list; what can be none goes on to the input check as it is.

    `ordered`: the order counts, so a set is none either.
    """
    if isinstance(titles, str | bytes | bytearray | Mapping) or (ordered and isinstance(titles, set | frozenset)):
        return titles
    if getattr(titles, "ndim", 1) != 1:  # a table would be read as its columns' names, a matrix as its rows
        return titles
    return list(titles) if isinstance(titles, Iterable) else titles


def _plain(value: Any) -> Any:
    """Paths, days and times as the text that settings hold."""
    if isinstance(value, date):
        return value.isoformat()
    return os.fsdecode(value) if isinstance(value, os.PathLike) else value


def _empty(names: Any) -> bool:
    """Whether names, in a list or in a text with commas, are none."""
    return (
        not names.replace(",", " ").strip() if isinstance(names, str) else isinstance(names, Collection) and not names
    )
