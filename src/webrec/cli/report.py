"""`webrec report RUN…`: what evaluations found, as one page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click


@click.command()
@click.argument("runs", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="RUN...")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Where report.html, report.md and the results as JSON are written; by default the first RUN.",
)
def report(runs: tuple[Path, ...], output: Path | None) -> None:
    """Write the report of finished evaluations: tables, intervals, tests, ablations, examples, and how to make them again.

    RUN is the output folder of `webrec eval`.
    """
    write_reports(runs, output or runs[0])


def write_reports(runs: Sequence[Path], output: Path) -> None:
    """Write the report of the runs into `output`, and say which files it is."""
    from webrec.eval.report.run import read_run
    from webrec.eval.report.write import write_report

    for file in write_report([read_run(run) for run in runs], output):
        click.echo(file)
