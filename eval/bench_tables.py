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


def goals_table(path: Mapping[str, Any], score: Mapping[str, Any]) -> str:
    """What was aimed at, what was measured, and whether that is enough."""
    worst = max((row["packed_over_plain"] for row in score["score"]), key=lambda row: row["median"])
    rows = [("packed scoring over one plain forward, the worst of all lengths", worst, "<=", 1.15)]
    rows += [(name, path["ratios"][key], sign, goal) for name, key, sign, goal in _GOALS if key in path["ratios"]]
    lines = ["| | goal | measured | reached |", "| --- | --- | --- | --- |"]
    for name, row, sign, goal in rows:
        reached = row["median"] >= goal if sign == ">=" else row["median"] <= goal
        bound = "at least" if sign == ">=" else "at most"
        lines.append(f"| {name} | {bound} {goal} | {spread(row)} | {'yes' if reached else 'no'} |")
    return "\n".join(lines) + "\n"


def ratios_table(path: Mapping[str, Any]) -> str:
    """All ratios."""
    lines = ["| ratio | median (least-greatest) |", "| --- | --- |"]
    lines += [f"| {name} | {spread(row)} |" for name, row in path["ratios"].items()]
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


def scoring_table(score: Mapping[str, Any], before: Mapping[str, Any]) -> str:
    """Packed scoring at each length, now and before attention was taken apart."""
    older = {(row["prompt"], row["title"]): row["packed_over_plain"] for row in before["score"]}
    lines = [
        "| prompt, tokens | titles, tokens | packed over one plain forward | before | one by one over packed | rounds |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in score["score"]:
        was = older.get((row["prompt"], row["title"]))
        cells = [
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
