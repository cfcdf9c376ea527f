"""`webrec demo`: a real recommendation on a shipped example, without key and network, retrieval off and on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from webrec.cli.options import context_from, context_options
from webrec.cli.progress import ProgressLine
from webrec.cli.recommend import write_text
from webrec.cli.table import console, recommendation_text, retrieval_line
from webrec.examples import NAMES, load_example
from webrec.tools.text_safety import clean

if TYPE_CHECKING:
    from webrec.eval.retrieval_effect import RetrievalEffect

_PAGES = 5  # half of the paper's N, so that the demo takes half a minute on two cores
_MODEL_NOTE = (
    "The default backbone is small (135 million parameters) and the sample web is fictional: this shows how WebRec works "
    "and proves nothing about its quality."
)


@click.command()
@click.argument("example", type=click.Choice(NAMES), default="paper")
@click.option(
    "--report", type=click.Path(path_type=Path), help="Write the result as one self-contained HTML page here."
)
@context_options
def demo(example: str, report: Path | None, **options: Any) -> None:
    """Run a shipped EXAMPLE (paper, films, games, no_page) over the packaged sample web, retrieval off and on."""
    from webrec.eval.ranks import target_rank
    from webrec.eval.retrieval_effect import retrieval_effect

    context = context_from(options, providers=["sample"], pages=_PAGES)
    data = load_example(example)
    out = console()
    out.print(Text(f"WebRec demo: {example}", style="bold"), Text(f"({clean(data['source'])})", style="dim"))
    out.print(Text(_MODEL_NOTE, style="dim"))
    out.print()
    out.print(Text("The user took, oldest first:"))
    for title in data["history"]:
        out.print(Text(f"  {clean(title, 92)}"))
    out.print()
    with ProgressLine() as progress:
        effect = retrieval_effect(data["history"], data["candidates"], context, progress)
    # The target is looked at only now, when both rankings are final.
    target = data["target"]
    out.print(recommendation_text("With the web", effect.on, target))
    table = _moves_table(effect, target)
    out.print(table)
    out.print()
    of = len(data["candidates"])
    without, with_web = target_rank(effect.off.ranking, target), target_rank(effect.on.ranking, target)
    out.print(Text(f"Taken next: {clean(target)}", style="bold"))
    out.print(
        Text(f"Its rank: {without} of {of} without the web, {with_web} of {of} with it ({retrieval_line(effect.on)}).")
    )
    out.print(Text(_MODEL_NOTE, style="dim"))
    if report is not None:
        from webrec.report.html import ReportEntry, render_report

        history = tuple(data["history"])
        entries = [
            ReportEntry(title=f"{example}: with the web", history=history, recommendation=effect.on, target=target),
            ReportEntry(title=f"{example}: without", history=history, recommendation=effect.off, target=target),
        ]
        write_text(report, render_report(entries))
        out.print(Text(f"The same as a page to look at: {report}"))


def _moves_table(effect: RetrievalEffect, target: str) -> Table:
    """Rank of every candidate without and with the web."""
    table = Table(title="Rank of each candidate", title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading in ("off", "on", ""):
        table.add_column(heading, justify="right", min_width=3)
    table.add_column("candidate", no_wrap=True, overflow="ellipsis", max_width=80)
    for title, before, after in effect.moves():
        move = "" if before == after else f"▲{before - after}" if after < before else f"▼{after - before}"
        style = "bold green" if title == target else ""
        table.add_row(str(before), str(after), Text(move, style="dim"), Text(clean(title), style=style))
    return table
