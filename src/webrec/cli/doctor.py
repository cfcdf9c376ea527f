"""`webrec doctor`: what is installed, which keys are set, what is cached."""

from __future__ import annotations

import json

import click

from webrec.doctor import PACKAGES, examine

_STATES = {True: "complete", False: "incomplete: it is built anew on next use", None: ""}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON.")
@click.option("--verify", is_flag=True, help="Also compare the files of complete folders with their SHA-256.")
def doctor(as_json: bool, verify: bool) -> None:
    """Tell what is installed, which keys are set and what is cached. Keys themselves are never shown."""
    facts = examine(verify)
    if as_json:
        click.echo(json.dumps(facts, indent=1))
        return
    click.echo(f"webrec {facts['webrec']}, Python {facts['python']}, {facts['platform']}")
    click.echo("\npackages")
    for name, found in facts["packages"].items():
        extra = f"missing: pip install 'webrec[{PACKAGES[name]}]'" if PACKAGES[name] else "missing"
        click.echo(f"  {name:<28} {found or extra}")
    click.echo("\nkeys")
    for name, is_set in facts["keys"].items():
        click.echo(f"  {name:<28} {'set' if is_set else 'not set'}")
    click.echo(f"\ncache: {facts['cache']}")
    for entry in facts["cached"]:
        state = _STATES[entry["complete"]]
        if entry.get("damaged"):
            state = f"damaged ({', '.join(entry['damaged'])}): delete the folder"
        click.echo(f"  {entry['name']:<40} {entry['bytes'] / 1e6:8.1f} MB  {state}".rstrip())
    if not facts["cached"]:
        click.echo("  nothing yet")
