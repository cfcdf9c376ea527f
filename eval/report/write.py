"""The report as one HTML page, as Markdown, and as one JSON file that is small enough to be committed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from webrec.errors import ConfigurationError
from webrec.eval.report.run import FinishedRun
from webrec.eval.report.view import RunView, Table, paper_view, run_view
from webrec.report.page import asset, environment, policy
from webrec.tools.text_safety import clean

_HERE = Path(__file__).parent
HTML, MARKDOWN, RESULT = "report.html", "report.md", "result.json"


def write_report(runs: Sequence[FinishedRun], folder: Path) -> list[Path]:
    """Write report.html, report.md and, for each run, its result as JSON; returns the files.

    Raises `ConfigurationError` where they cannot be written.
    """
    runs = _told_apart(runs)
    views, paper = [run_view(run) for run in runs], paper_view(runs)
    files = {HTML: render_html(views, paper), MARKDOWN: render_markdown(views, paper)}
    for run in runs:
        name = RESULT if len(runs) == 1 else f"{run.name}.{RESULT}"
        files[name] = json.dumps(result(run), indent=1) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            fresh = folder / f"{name}.new"
            fresh.write_text(text, encoding="utf-8")
            fresh.replace(folder / name)
    except OSError as error:
        raise ConfigurationError(
            f"--output: {folder} cannot be written ({error.strerror}); give another folder"
        ) from None
    return [folder / name for name in files]


def _told_apart(runs: Sequence[FinishedRun]) -> list[FinishedRun]:
    """With a number after the name of a run that is called as one before it: its result would be written over that one's."""
    told, seen = [], set()
    for run in runs:
        name, number = run.name, 2
        while name in seen:
            name, number = f"{run.name}-{number}", number + 1
        seen.add(name)
        told.append(run if name == run.name else replace(run, name=name))
    return told


def render_html(views: Sequence[RunView], paper: Table) -> str:
    """One document that loads nothing and runs no script."""
    style = asset(_HERE / "report.css")
    template = environment(_HERE).get_template("report.html.j2")
    return template.render(runs=views, paper=paper, style=Markup(style), policy=policy(style))  # noqa: S704 (our own file)


def render_markdown(views: Sequence[RunView], paper: Table) -> str:
    """The same tables, without drawings and examples."""
    parts = ["# WebRec evaluation"]
    if paper.rows:
        parts += ["## The paper beside", markdown_table(paper)]
    for view in views:
        if len(views) > 1:
            parts.append(f"# {_line(view.title)}")
        if view.planned is not None:
            parts += ["## Planned comparisons", markdown_table(view.planned)]
        for cell in view.cells:
            parts += [f"## {_line(cell.title)}", markdown_table(cell.main)]
            parts += [markdown_table(table) for table, _ in cell.ablations]
            parts += [markdown_table(table) for table in (*cell.groups, cell.costs)]
        facts = "\n".join(f"- {_line(name)}: `{_line(value)}`" for name, value in view.facts)
        parts += [f"## How to make {_line(view.title)} again", f"`{view.command}` with these settings:"]
        parts += [f"```yaml\n{view.config.replace('```', '')}```", facts, markdown_table(view.starts)]
        parts += [markdown_table(table) for table in view.notes]
    return "\n\n".join(parts) + "\n"


def markdown_table(table: Table) -> str:
    """A heading, the table, its note."""
    lines = [f"**{_line(table.title)}**", "", _row(table.heads), _row(["---"] * len(table.heads))]
    lines += [_row(row) for row in table.rows]
    return "\n".join([*lines, *(["", _line(table.note)] if table.note else [])])


def _row(values: Sequence[str]) -> str:
    return "| " + " | ".join(_line(value) for value in values) + " |"


def _line(text: str) -> str:
    """One line that Markdown shows as it is."""
    cleaned = clean(text)
    for mark in ("\\", "|", "<", "*", "_", "`", "["):
        cleaned = cleaned.replace(mark, f"\\{mark}")
    return cleaned


def result(run: FinishedRun) -> dict[str, Any]:
    """Everything of a run but its rows: what came out, and what is needed to make it again; no path of a machine."""
    return {
        "name": run.name,
        "run": run.manifest(),
        "summary": run.summary.model_dump(mode="json"),
    }
