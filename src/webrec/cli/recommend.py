"""`webrec recommend FILE`: rank the candidates of one user or of many."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from webrec.cli.options import context_from, context_options
from webrec.cli.progress import ProgressLine
from webrec.cli.rows import ResultRows
from webrec.cli.table import console, recommendation_text
from webrec.cli.users import UserRecord, read_users
from webrec.errors import InputError
from webrec.nodes.context import RunContext
from webrec.nodes.schema import Recommendation


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print results as JSON, one object a line, instead of tables.")
@click.option(
    "--report", type=click.Path(path_type=Path), help="Write one self-contained HTML page of all results here."
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Append results to this JSONL file as they come; users that are in it already are skipped.",
)
@context_options
def recommend(file: Path, as_json: bool, report: Path | None, output: Path | None, **options: Any) -> None:
    """Rank the candidates of the users in FILE.

    FILE is a JSON object with `history` (titles, oldest first) and `candidates` (titles to rank), or JSONL with one
    such object a line. `id` names a user; `target`, if given, is only used to mark it in the final ranking.
    """
    context = context_from(options)
    users = read_users(file)
    rows = ResultRows(output) if output is not None else None
    try:
        done = _run(users, context, rows, as_json)
    finally:
        if rows is not None:
            rows.close()
    if report is not None:
        _write_report(report, done)


def _run(
    users: list[UserRecord], context: RunContext, rows: ResultRows | None, as_json: bool
) -> list[tuple[UserRecord, Recommendation]]:
    from webrec.api import recommend as recommend_one

    out = console()
    done = []
    skipped = 0
    for number, user in enumerate(users, 1):
        key = user.key(context)
        if rows is not None and key in rows.keys:
            skipped += 1
            continue
        prefix = f"[{number}/{len(users)}] " if len(users) > 1 else ""
        with ProgressLine(prefix) as progress:
            result = recommend_one(
                user.request.history, user.request.candidates, on_progress=progress, **context.model_dump()
            )
        if rows is not None:
            rows.append({"key": key, "user": user.name, "recommendation": result.model_dump(mode="json")})
        if as_json:
            click.echo(json.dumps({"user": user.name, **result.model_dump(mode="json")}))
        elif rows is None or len(users) == 1:
            out.print(recommendation_text(user.name, result, user.target))
        done.append((user, result))
    if rows is not None:
        click.echo(f"{len(done)} of {len(users)} users written to {rows.path}, {skipped} were there already", err=True)
    return done


def _write_report(path: Path, done: list[tuple[UserRecord, Recommendation]]) -> None:
    from webrec.report.html import ReportEntry, render_report

    if not done:
        raise InputError("--report: no user was computed in this run; leave --output away or name a new file")
    entries = [
        ReportEntry(title=u.name, history=tuple(u.request.history), recommendation=r, target=u.target) for u, r in done
    ]
    write_text(path, render_report(entries))
    click.echo(f"report: {path}", err=True)


def write_text(path: Path, text: str) -> None:
    """Write a file the user named. Raises `InputError` if that cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    except OSError as error:
        raise InputError(f"{path}: it cannot be written ({error.strerror}); name another file") from None
