"""One HTML file without any outside part: nothing is loaded, and no text in it can run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment
from markupsafe import Markup

from webrec.nodes.schema import Recommendation
from webrec.report.compare import comparisons
from webrec.report.page import asset, environment, policy
from webrec.report.text import number, percent, plural
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
    style, script = asset(_HERE / "report.css"), asset(_HERE / "report.js")
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            entries=views,
            style=Markup(style),  # noqa: S704  # our own files
            script=Markup(script),  # noqa: S704
            policy=policy(style, script),
            fold_after=FOLD_AFTER,
        )
    )


@cache
def _environment() -> Environment:
    return environment(_HERE, number=number, percent=percent, plural=plural)
