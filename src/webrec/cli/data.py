"""`webrec data`: public data sets, fetched and looked at."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from webrec.cli.progress import StatusLine


@click.group()
def data() -> None:
    """Fetch public data sets, and count what is in one."""


@data.command("list")
def list_() -> None:
    """Name the data sets that can be fetched."""
    from webrec.eval.data.catalogue import CATALOGUE

    width = max(map(len, CATALOGUE))
    for release in CATALOGUE.values():
        click.echo(f"{release.name:{width}}  {release.what}")
    click.echo("\nTerms and citation are shown by webrec data get, and kept beside the files in download.json.")


@data.command()
@click.argument("name")
@click.option(
    "--to", "folder", type=click.Path(path_type=Path), metavar="FOLDER", help="Where the files go; by default ./NAME."
)
def get(name: str, folder: Path | None) -> None:
    """Download the data set NAME; what was cut off goes on where it stopped.

    Each file is checked against its makers' checksum, or against its first download.
    """
    from webrec.eval.data.catalogue import find_release
    from webrec.eval.data.download import download_release

    release = find_release(name)
    target = folder or Path(name)
    with StatusLine() as line:

        def hear(file: str, have: int, total: int | None) -> None:
            of = "" if total is None else f" of {total / 1e6:,.1f}"
            line.show(f"{file}: {have / 1e6:,.1f}{of} MB")

        files = download_release(release, target, on_progress=hear)
    for file in files:
        click.echo(file)
    click.echo(f"terms: {release.terms}\ncite: {release.cite}")


@data.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--min-interactions", type=click.IntRange(0, 1000), default=5, show_default=True, help="Of the filter.")
def show(folder: Path, min_interactions: int) -> None:
    """Count what is in FOLDER, and what may mislead an evaluation: repeated titles, days without order, repeated items."""
    from webrec.eval.data.audit import PAPER_TABLE_1, audit
    from webrec.eval.data.source import find_source

    source = find_source(folder)
    with StatusLine() as line:
        line.show("reading")
        found = audit(source.load(folder.resolve().name), min_interactions)
    rows = [
        ("format", source.format),
        ("users, items, interactions", f"{found.users:,}, {found.items:,}, {found.interactions:,}"),
        (
            f"left with {min_interactions} interactions each",
            f"{found.core_users:,}, {found.core_items:,}, {found.core_interactions:,}",
        ),
        ("users with fewer than three items", f"{found.short_users:,}, of whom no example can be made"),
        ("items without a title", f"{found.untitled_items:,}"),
        ("titles of several items", f"{found.shared_titles:,}, of {found.items_of_shared_titles:,} items"),
        ("items with a description", f"{found.described_items:.1%}"),
        ("interactions with an item taken before", f"{found.repeated:,}"),
        ("last item, or its title, in the history", f"{found.target_in_history:.1%} of users"),
        ("last two items on one day", "unknown" if found.same_day is None else f"{found.same_day:.1%} of users"),
        (
            "times",
            "none" if found.first is None or found.last is None else f"{_day(found.first)} to {_day(found.last)}",
        ),
    ]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        click.echo(f"{name:{width}}  {value}")
    click.echo("\nThe paper's Table 1, as printed (users, items, interactions):")
    for name, counts in PAPER_TABLE_1.items():
        click.echo(f"{name:{width}}  {', '.join(f'{count:,}' for count in counts)}")


def _day(time: int) -> str:
    return datetime.fromtimestamp(time, UTC).date().isoformat()
