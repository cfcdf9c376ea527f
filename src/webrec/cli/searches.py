"""`webrec searches`: what is recorded and what it cost, and recorded answers as a file to ship."""

from __future__ import annotations

import gzip
import json
import time
import zlib
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from webrec.errors import InputError
from webrec.tools.searching import ledger, records, shipping
from webrec.tools.searching.store import SearchStore, open_store
from webrec.tools.text_safety import clean

_LONGEST_HEADER = 1000
_PERIODS = {"day": "today", "month": "this month", "forever": "in all"}


def _store_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--search-store", metavar="FILE", help="The store; by default the one in WebRec's cache folder."
    )(command)


@click.group()
def searches() -> None:
    """Recorded searches and pages: what is held, what it cost, export and import."""


@searches.command()
@_store_option
@click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON.")
def info(search_store: str | None, as_json: bool) -> None:
    """Tell what is recorded, and the calls and costs that count against the caps. Days and months are UTC."""
    store = _existing(search_store)
    held = store.run_now(records.held)
    used = store.run_now(lambda connection: ledger.usage(connection, time.time()))
    if as_json:
        facts = {"store": str(store.path), "records": [asdict(h) for h in held], "calls": [asdict(u) for u in used]}
        click.echo(json.dumps(facts, indent=1))
        return
    click.echo(f"store: {store.path} ({store.path.stat().st_size / 1e6:.1f} MB)\n\nrecorded")
    for entry in held:
        name = f"searches, {entry.provider}" if entry.kind == "search" else "fetched pages"
        click.echo(f"  {clean(name):<28} {entry.count:>9,}  from {entry.oldest[:16]} to {entry.newest[:16]} UTC")
    click.echo("" if held else "  nothing yet")
    click.echo(
        f"{'calls':<16}{'':<12}{'sent':>8}{'answered':>10}{'refused':>9}{'possibly billed':>17}{'cost units':>12}{'spent':>10}"
    )
    for row in used:
        click.echo(
            f"  {clean(row.provider):<14}{_PERIODS[row.period]:<12}{row.calls:>8,}{row.answered:>10,}{row.failed:>9,}"
            f"{row.lost:>17,}{row.cost_units:>12,.6g}{row.spend:>10,.6g}"
        )
    if not used:
        click.echo("  none yet")


@searches.command("export")
@click.argument("file", type=click.Path(path_type=Path))
@_store_option
@click.option(
    "--provider", metavar="NAME", help="Only this provider's searches; fetched pages are written all the same."
)
@click.option("--since", metavar="DATE", help="Only what was recorded at this UTC day or time (ISO 8601) or later.")
def export_(file: Path, search_store: str | None, provider: str | None, since: str | None) -> None:
    """Write recorded answers to FILE (JSON lines, gzip, with a checksum), to ship with results and replay elsewhere.

    Of files that exist, only an older export is replaced.
    """
    begin = _time(since) if since is not None else ""
    store = _existing(search_store)
    _check_replaceable(file)
    count = store.run_now(lambda connection: shipping.export_records(connection, file, provider, begin))
    click.echo(f"{count:,} records written to {file}")


@searches.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@_store_option
def import_(file: Path, search_store: str | None) -> None:
    """Take over the records of an exported FILE; of two with the same key the newer one stays. A damaged file changes nothing."""
    shipping.check_export(file)
    store = open_store(search_store)
    done = store.run_now(lambda connection: shipping.import_records(connection, file), write=True)
    click.echo(f"{done.new:,} new records, {done.newer:,} newer than those held, {done.kept:,} held already")


@searches.command()
@_store_option
@click.option(
    "--older-than",
    "days",
    type=click.FloatRange(min=0),
    required=True,
    metavar="DAYS",
    help="Age from which on records go.",
)
def prune(search_store: str | None, days: float) -> None:
    """Forget old records. What was spent stays known, so that the caps hold."""
    store = _existing(search_store)
    before = records.oldest_admitted(time.time(), days)
    gone = store.run_now(lambda connection: records.prune(connection, before), write=True)
    store.run_now(lambda connection: connection.execute("PRAGMA incremental_vacuum").fetchall())
    click.echo(f"{gone:,} records forgotten")


def _existing(path: str | None) -> SearchStore:
    store = open_store(path)
    if not store.path.is_file():
        raise InputError(f"search_store: {str(store.path)!r} does not exist; nothing was recorded there yet")
    return store


def _check_replaceable(file: Path) -> None:
    """Raise `InputError` for somebody's file: only an empty one and an older export are written over."""
    if not file.is_file() or not file.stat().st_size:
        return
    try:
        with gzip.open(file, "rb") as lines:
            header = json.loads(lines.readline(_LONGEST_HEADER))
    except (OSError, EOFError, zlib.error, ValueError, RecursionError):
        header = None
    if not isinstance(header, dict) or header.get("format") != shipping.FORMAT:
        raise InputError(f"{file.name}: it exists and is no export of webrec searches; name another file")


def _time(text: str) -> str:
    try:
        time = datetime.fromisoformat(text)
        utc = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InputError(
            f"--since: {clean(text, 40)!r} is no date; write it like 2025-03-31 or 2025-03-31T12:00Z"
        ) from None
    return utc.isoformat(timespec="microseconds")
