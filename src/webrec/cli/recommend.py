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
from webrec.errors import InputError, SearchError
from webrec.nodes.context import RunContext
from webrec.nodes.run import run_blocking
from webrec.nodes.schema import Recommendation
from webrec.tools.text_safety import clean

FAILED_SEARCHES = 8
"""Failed searches after which a batch ends that has no result yet: the service is down, or lets nobody in."""


@click.command()
@click.argument("file", type=click.Path())
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
    file: str, as_json: bool, report: Path | None, output: Path | None, concurrency: int, **options: Any
) -> None:
    """Rank the candidates of the users in FILE.

    FILE is a JSON object with `history` (titles, oldest first) and `candidates` (titles to rank), or JSONL with one
    such object a line; - reads standard input. `id` names a user (so does `user_id`, or `name`); `target`, if given, is only used
    to mark it in the final ranking.
    """
    context = context_from(options)
    users = read_users(file)
    _tell_missed_targets(users)
    if report is not None:
        check_writable(report)
    shown = _Shown(as_json, output is None or len(users) == 1, report is not None)
    rows = ResultRows(output) if output is not None else None
    try:
        done, failed = _run(users, context, rows, concurrency, shown)
    finally:
        if rows is not None:
            rows.close()
    if report is not None and (done or not failed):
        _write_report(report, done)
    if failed:
        kind = InputError if any(isinstance(error, InputError) for error in failed) else SearchError
        raise kind(f"{len(failed)} of {len(users)} users have no result; why is said above")


def _tell_missed_targets(users: list[UserRecord]) -> None:
    missed = [user.name for user in users if user.missed]
    if len(missed) == 1:
        click.echo(f"webrec: {missed[0]}: target: it is none of the candidates, so it is not marked", err=True)
    elif missed:
        whose = f"{len(missed)} of {len(users)} users have one that is none of their candidates, {missed[0]} first"
        click.echo(f"webrec: target: {whose}; it is not marked", err=True)


def _run(
    users: list[UserRecord], context: RunContext, rows: ResultRows | None, concurrency: int, options: _Shown
) -> tuple[list[tuple[UserRecord, Recommendation]], list[InputError | SearchError]]:
    """Compute what is not in `rows` yet; all of it, in the file's order, if a report wants it, and the error of each user without a result."""
    keys = [user.key(context) for user in users]
    wanted = list(range(len(users)))
    if rows is not None:
        wanted = rows.missing([(key, user.name, user.has_id) for key, user in zip(keys, users, strict=True)])
    same: dict[str, list[int]] = {}  # whose work is the same: it is done once
    for place in wanted:
        same.setdefault(keys[place], []).append(place)
    works = list(same.values())
    early: dict[int, Recommendation | None] = {}  # ended before one that stands above it in the file; None: failed
    done: list[tuple[UserRecord, Recommendation]] = []
    failed: list[InputError | SearchError] = []
    shown = answered = failed_searches = 0
    with UsersProgress(len(wanted)) as progress:

        def ended(work: int, result: Recommendation | None) -> None:
            nonlocal shown
            for place in works[work]:
                progress.ended()
                early[place] = result
            while shown < len(wanted) and wanted[shown] in early:
                place, shown = wanted[shown], shown + 1
                if (next_result := early.pop(place)) is not None:
                    options.show(users[place], next_result)
                    done.extend([(users[place], next_result)] if options.report else [])

        def keep(work: int, result: Recommendation) -> None:
            nonlocal answered
            recommendation = result.model_dump(mode="json")
            for place in works[work]:
                if rows is not None:
                    rows.append({"key": keys[place], "user": users[place].name, "recommendation": recommendation})
                answered += 1
            ended(work, result)

        def give_up(work: int, error: InputError | SearchError) -> None:
            nonlocal failed_searches
            if len(users) == 1:
                raise error
            failed.extend([error] * len(works[work]))
            failed_searches += isinstance(error, SearchError)
            down = failed_searches == FAILED_SEARCHES and not answered and len(wanted) == len(users)
            if isinstance(error, SearchError) and down:
                raise error.again(
                    f"{error}; {failed_searches} users failed and none succeeded, so the others were not tried"
                )
            for place in works[work]:
                progress.keep(f"webrec: {users[place].name}: {clean(str(error))}")
            ended(work, None)

        requests = [(users[work[0]].request.history, users[work[0]].request.candidates) for work in works]
        run_blocking(_all(requests, context, concurrency, progress, keep, give_up))
    if rows is not None:
        there = len(users) - len(wanted)
        click.echo(f"{answered} of {len(users)} users written to {rows.path}, {there} were there already", err=True)
    return done, failed


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
    give_up: Callable[[int, InputError | SearchError], None],
) -> None:
    from webrec.api import arecommend_many

    results = arecommend_many(
        requests, concurrency=concurrency, context=context, on_progress=progress, on_failure=give_up
    )
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


def check_writable(path: Path) -> None:
    """Raise `InputError` where `write_text` could not write, before anything is computed for it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        existed = path.exists()
        with path.open("ab"):
            pass
        if not existed:
            path.resolve().unlink()  # not a link that leads there
    except OSError as error:
        raise _unwritable(path, error) from None


def write_text(path: Path, text: str) -> None:
    """Write a file the user named. Raises `InputError` if that cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path}: it cannot be written ({error.strerror}); name another file")
