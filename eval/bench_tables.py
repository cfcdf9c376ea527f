"""The tables of `docs/performance.md`, from the result files of `make bench`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from webrec.eval.bench_score import spread

_GOALS = (
    ("reasoning: generate(), bfloat16, over ours", "generate(), bfloat16, over reasoning", ">=", 2.0),
    ("the same in int8, which is approximate", "generate(), bfloat16, over decoder int8", ">=", 2.0),
    ("all but reasoning over vanilla RAG's same stages", "all but reasoning over vanilla RAG", "<=", 1.2),
    ("the whole over its floor", "the whole over its floor", "<=", 1.25),
    ("the whole over its floor with one pass a token", "the whole over its floor with one pass a token", "<=", 1.25),
    ("extraction in one pass over one forward", "extraction in one pass over a plain forward", "<=", 1.1),
)


Reports = Mapping[str, Mapping[str, Any]]
"""Reports of one bench by number format."""


def goals_table(paths: Reports, scores: Reports) -> str:
    """What was aimed at, what was measured in each number format, and whether that is enough."""
    rows: list[tuple[str, str, float, list[Mapping[str, Any] | None]]] = []
    worst = [
        max((row["packed_over_plain"] for row in score["score"]), key=lambda row: row["median"])
        for score in scores.values()
    ]
    rows.append(("packed scoring over one plain forward, the worst of all lengths", "<=", 1.15, [*worst]))
    rows += [
        (name, sign, goal, [path["ratios"].get(key) for path in paths.values()]) for name, key, sign, goal in _GOALS
    ]
    lines = [f"| | goal | {' | '.join(paths)} |", "| --- | --- |" + " --- |" * len(paths)]
    for name, sign, goal, measured in rows:
        if any(row is not None for row in measured):
            bound = "at least" if sign == ">=" else "at most"
            lines.append(f"| {name} | {bound} {goal} | {' | '.join(_reached(row, sign, goal) for row in measured)} |")
    return "\n".join(lines) + "\n"


def _reached(row: Mapping[str, Any] | None, sign: str, goal: float) -> str:
    if row is None:
        return ""
    reached = row["median"] >= goal if sign == ">=" else row["median"] <= goal
    return f"{spread(row)}: {'yes' if reached else 'no'}"


def ratios_table(paths: Reports) -> str:
    """All ratios in each number format."""
    lines = [f"| ratio | {' | '.join(paths)} |", "| --- |" + " --- |" * len(paths)]
    for name in dict.fromkeys(name for path in paths.values() for name in path["ratios"]):
        cells = [path["ratios"].get(name) for path in paths.values()]
        lines.append(f"| {name} | {' | '.join('' if row is None else spread(row) for row in cells)} |")
    return "\n".join(lines) + "\n"


def shares_table(path: Mapping[str, Any]) -> str:
    """Each node's time over the median of WebRec's whole."""
    systems = list(path["shares"])
    nodes = dict.fromkeys(node for shares in path["shares"].values() for node in shares)
    lines = [f"| | {' | '.join(systems)} |", f"| --- |{' --- |' * len(systems)}"]
    for node in nodes:
        own = [path["shares"][name].get(node) for name in systems]
        cells = ["" if row is None else format(row["median"], ".3f") for row in own]
        lines.append(f"| {node} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def scoring_table(scores: Reports, before: Mapping[str, Any]) -> str:
    """Packed scoring at each length in each number format; `before`: in float32, before attention was taken apart."""
    older = {(row["prompt"], row["title"]): row["packed_over_plain"] for row in before["score"]}
    lines = [
        "| format | prompt, tokens | titles, tokens | packed over one plain forward | before | one by one over packed | rounds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for dtype, row in ((dtype, row) for dtype, score in scores.items() for row in score["score"]):
        was = older.get((row["prompt"], row["title"])) if dtype == before["dtype"] else None
        cells = [
            dtype,
            f"{row['prompt']:,}",
            str(row["title"]),
            spread(row["packed_over_plain"], 3),
            "" if was is None else spread(was, 3),
            spread(row["one_by_one_over_packed"], 1),
            str(row["packed_over_plain"]["rounds"]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def cold_table(cold: Mapping[str, Any]) -> str:
    """A cold start in its parts, over a warm recommendation."""
    lines = ["| | over a warm recommendation |", "| --- | --- |"]
    lines += [f"| {name} | {spread(row)} |" for name, row in cold.items()]
    return "\n".join(lines) + "\n"


def memory_table(rows: list[dict[str, Any]]) -> str:
    """Peak memory of extraction in one pass, of the plain pass, and of all attentions."""
    names = ("plain", "ours", "all layers")
    lines = [
        "| tokens in all | of them generated | a plain pass, MiB | extraction in one pass, MiB | all layers' attentions, MiB |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        figures = " | ".join(f"{row[name]:,.0f}" for name in names)
        lines.append(f"| {row['context']:,} | {row['generated']} | {figures} |")
    return "\n".join(lines) + "\n"
