"""`webrec recommend FILE`: rank the candidates of one user or of many."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from webrec.cli.options import context_from, context_options
from webrec.cli.progress import UsersProgress
from webrec.cli.rows import ResultRows
from webrec.cli.table import console, recommendation_text
from webrec.cli.users import UserRecord, read_users
from webrec.errors import InputError
from webrec.nodes.context import RunContext
from webrec.nodes.run import run_blocking
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
@click.option(
    "--concurrency",
    type=click.IntRange(min=1, max=64),
    default=16,
    show_default=True,
    metavar="N",
    help="Users under way at a time; what they write is computed together, which saves time and costs memory.",
)
@context_options
def recommend(
    file: Path, as_json: bool, report: Path | None, output: Path | None, concurrency: int, **options: Any
) -> None:
    """Rank the candidates of the users in FILE.

    FILE is a JSON object with `history` (titles, oldest first) and `candidates` (titles to rank), or JSONL with one
    such object a line. `id` names a user; `target`, if given, is only used to mark it in the final ranking.
    """
    context = context_from(options)
    users = read_users(file)
    shown = _Shown(as_json, output is None or len(users) == 1, report is not None)
    rows = ResultRows(output) if output is not None else None
    try:
        done = _run(users, context, rows, concurrency, shown)
    finally:
        if rows is not None:
            rows.close()
    if report is not None:
        _write_report(report, done)


def _run(
    users: list[UserRecord], context: RunContext, rows: ResultRows | None, concurrency: int, options: _Shown
) -> list[tuple[UserRecord, Recommendation]]:
    """Compute what is not in `rows` yet; returns all of it, in the file's order, if a report wants it."""
    new = [(user.key(context), user) for user in users]
    if rows is not None:
        first = dict(reversed(new))  # the same work is done once
        new = [(key, user) for key, user in reversed(first.items()) if key not in rows.keys]
    early: dict[int, Recommendation] = {}  # ended before one that stands above it in the file
    done: list[tuple[UserRecord, Recommendation]] = []
    count = 0
    with UsersProgress(len(new)) as progress:

        def keep(place: int, result: Recommendation) -> None:
            nonlocal count
            key, user = new[place]
            if rows is not None:
                rows.append({"key": key, "user": user.name, "recommendation": result.model_dump(mode="json")})
            progress.ended()
            early[place] = result
            while count in early:
                user, result = new[count][1], early.pop(count)
                options.show(user, result)
                done.extend([(user, result)] if options.report else [])
                count += 1

        requests = [(user.request.history, user.request.candidates) for _, user in new]
        run_blocking(_all(requests, context, concurrency, progress, keep))
    if rows is not None:
        there = len(users) - count
        click.echo(f"{count} of {len(users)} users written to {rows.path}, {there} were there already", err=True)
    return done


@dataclass(frozen=True)
class _Shown:
    """What is done with a result."""

    as_json: bool
    as_table: bool
    report: bool

    def show(self, user: UserRecord, result: Recommendation) -> None:
        if self.as_json:
            click.echo(json.dumps({"user": user.name, **result.model_dump(mode="json")}))
        elif self.as_table:
            console().print(recommendation_text(user.name, result, user.target))


async def _all(
    requests: list[tuple[list[str], list[str]]],
    context: RunContext,
    concurrency: int,
    progress: UsersProgress,
    keep: Callable[[int, Recommendation], None],
) -> None:
    from webrec.api import arecommend_many

    results = arecommend_many(requests, concurrency=concurrency, on_progress=progress, **context.model_dump())
    async with aclosing(results):
        async for place, result in results:
            keep(place, result)


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
