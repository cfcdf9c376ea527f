"""A recommendation as text for a terminal. Foreign text is cleaned and never read as markup."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from webrec.nodes.schema import Recommendation
from webrec.tools.text_safety import clean

_BAR = 16
_SCORES = {"mean": "nats/token", "sum": "nats", "pmi": "nats more"}
_STATES = {
    "off": "retrieval is off: the web was not read",
    "no_keywords": "no keyword was found in the reasoning: nothing was searched",
    "no_pages": "the search found no page: scored without evidence",
    "left_out": "what the search found may not be read: scored without evidence",
}


def retrieval_line(result: Recommendation) -> str:
    """What came of retrieval, in words."""
    if result.retrieval != "found":
        return _STATES[result.retrieval]
    providers = ", ".join(dict.fromkeys(clean(p.provider) for p in result.pages)) or "none fitted"
    return f"{len(result.pages)} pages read (from {providers})"


def ranking_table(result: Recommendation, target: str | None = None, top: int | None = None) -> Table:
    """Rank, title, probability and score; the target is marked."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", expand=True)
    table.add_column("#", justify="right", min_width=2)
    table.add_column("candidate", ratio=1, overflow="ellipsis", no_wrap=True)
    table.add_column("prob.", justify="right", min_width=5)
    table.add_column("", width=_BAR, min_width=_BAR)
    table.add_column(_SCORES[str(result.settings["score_by"])], justify="right", min_width=10)
    if result.crowd is not None:
        table.add_column("crowd", justify="right", min_width=7)
        table.add_column("fused", justify="right", min_width=6)
    widest = max(c.probability for c in result.ranking)
    for candidate in result.ranking[:top]:
        bar = "█" * max(1, round(_BAR * candidate.probability / widest)) if candidate.probability else ""
        title = Text(clean(candidate.title), style="bold green" if candidate.title == target else "")
        if candidate.title == target:
            title.append("  ← taken next")
        crowd = []
        if result.crowd is not None:
            crowd = ["unknown" if candidate.crowd is None else f"{candidate.crowd:+.2f}", f"{candidate.fused:.2f}"]
        table.add_row(
            str(candidate.rank),
            title,
            f"{candidate.probability:.3f}",
            Text(bar, style="cyan"),
            f"{candidate.score:.2f}",
            *crowd,
        )
    return table


def recommendation_text(name: str, result: Recommendation, target: str | None) -> RenderableType:
    """The whole result: what was thought, searched and read, and the ranking."""
    lines: list[RenderableType] = [Text(name, style="bold underline")]
    if result.reasoning is not None:
        reasoning = Text("reasoning  ", style="dim")
        reasoning.append(clean(result.reasoning.text, 600), style="default")
        lines.append(reasoning)
    if result.query:
        query = Text("query      ", style="dim")
        query.append(clean(result.query, 300), style="yellow")
        lines.append(query)
    lines.append(Text("web        ", style="dim").append(retrieval_line(result), style="default"))
    for page in result.pages:
        lines.append(
            Text(f"           [{page.rank}] {clean(page.title, 90)}", style="dim", no_wrap=True, overflow="ellipsis")
        )
    lines.append(
        Text("model      ", style="dim").append(f"{result.backbone.name}, head: {result.head}", style="default")
    )
    if (crowd := result.crowd) is not None:
        known = f"{crowd.candidates_known} candidates and {crowd.history_known} items of the history known"
        known += f", {crowd.candidates_read} read by their titles" * bool(crowd.candidates_read)
        lines.append(Text("crowd      ", style="dim").append(f"{crowd.users:,} users; {known}", style="default"))
    lines += [Text(f"warning    {clean(w)}", style="yellow") for w in result.warnings]
    lines += [Text(""), ranking_table(result, target), Text("")]
    return Group(*lines)


def console() -> Console:
    """Standard output; 100 columns where it is no terminal."""
    out = Console(highlight=False, markup=False)
    return out if out.is_terminal else Console(highlight=False, markup=False, width=100)
