"""One HTML file without any outside part: nothing is loaded, and no text in it can run."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from webrec.nodes.schema import Recommendation
from webrec.report.compare import comparisons
from webrec.report.text import number, percent, plural, reveal
from webrec.report.view import FOLD_AFTER, entry_view

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class ReportEntry:
    """One recommendation of the report.

    `title` names its tab, `history` is the request's (oldest first), `target` the item that was really taken, if known.
    """

    title: str
    history: tuple[str, ...]
    recommendation: Recommendation
    target: str | None = None


def render_report(entries: Sequence[ReportEntry]) -> str:
    """The page that shows `entries`, as one HTML document. Raises `ValueError` if there are none.

    Style and script are inlined and allowed by their hashes alone; the page loads nothing. Foreign text is escaped,
    and its invisible characters are shown or noted. Entries about the same history and candidates are compared.
    """
    if not entries:
        raise ValueError("a report needs at least one entry")
    compared = comparisons([(e.history, e.recommendation) for e in entries])
    views = [
        entry_view(n, e.title, e.history, e.recommendation, e.target, c, lambda other: entries[other].title)
        for n, (e, c) in enumerate(zip(entries, compared, strict=True), 1)
    ]
    style, script = _asset("report.css"), _asset("report.js")
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            entries=views,
            style=Markup(style),  # noqa: S704  # our own files
            script=Markup(script),  # noqa: S704
            policy=_policy(style, script),
            fold_after=FOLD_AFTER,
        )
    )


def _policy(style: str, script: str) -> str:
    """The page's content security policy: this style, this script, and nothing else."""
    return "; ".join(
        (
            "default-src 'none'",
            f"style-src '{_hash(style)}'",
            f"script-src '{_hash(script)}'",
            "img-src 'none'",
            "font-src 'none'",
            "media-src 'none'",
            "object-src 'none'",
            "frame-src 'none'",
            "worker-src 'none'",
            "connect-src 'none'",
            "manifest-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _asset(name: str) -> str:
    return (_HERE / name).read_text("utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, percent=percent, plural=plural)
    return environment


def _finalize(value: Any) -> Any:
    """Whatever the template prints: strings with their invisible characters made visible (escaping comes after)."""
    return reveal(value) if isinstance(value, str) and not isinstance(value, Markup) else value
