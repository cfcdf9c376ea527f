"""Command-line options made from the run context, so that names, defaults and help texts are the same everywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin

import click

from webrec.given import context_of
from webrec.nodes.context import RunContext

F = TypeVar("F", bound=Callable[..., Any])


def context_options(command: F) -> F:
    """Add one option for every field of `RunContext`; the command gets those that were given as keyword arguments."""
    for name, field in reversed(RunContext.model_fields.items()):
        flag = f"--{name.replace('_', '-')}"
        default = field.get_default(call_default_factory=True)
        shown = (",".join(default) or None) if isinstance(default, tuple | dict) else default
        text = f"{field.description}  [default: {'unset' if shown is None else shown}]"
        if isinstance(default, bool):
            option = click.option(f"{flag}/--no-{name.replace('_', '-')}", name, default=None, help=text)
        else:
            option = click.option(flag, name, default=None, metavar=_metavar(field.annotation), help=text)
        command = option(command)
    return command


def _metavar(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return "|".join(get_args(annotation))
    if get_origin(annotation) is tuple:
        return "NAME,…"
    if get_origin(annotation) is Mapping:
        return "NAME=N,…"
    return "N" if annotation in {int, float, int | None} else "TEXT"


def context_from(options: dict[str, Any], **defaults: Any) -> RunContext:
    """The run context of the options that were given. Raises `ConfigurationError` naming the first wrong one."""
    given = {name: value for name, value in options.items() if value is not None and name in RunContext.model_fields}
    return context_of(None, {**defaults, **given})
