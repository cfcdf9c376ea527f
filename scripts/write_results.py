"""Write the tables of measurements into the documents from the result files, so that no number is typed by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from webrec.eval import (
    approximation,
    attacks,
    bench_actors,
    bench_allocator,
    bench_decoder,
    bench_index,
    bench_load,
    bench_products,
    bench_tables,
    bench_train,
    bench_users,
    full_ranking,
    head_learning,
    new_items,
    page_flags,
    reasoning_limit,
    rerank_effect,
)
from webrec.eval.report.run import from_result
from webrec.eval.report.view import Table, run_view
from webrec.eval.report.write import markdown_table

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
RESULTS = ROOT / "eval" / "results"


def cost_table(report: dict[str, Any]) -> str:
    """Share of the forward pass that each head takes, by prompt length, and how it grows."""
    lengths = sorted({row["tokens"] for row in report["heads"]})
    cells = {(row["head"], row["tokens"]): row for row in report["heads"]}
    rows = [
        f"| head | {' | '.join(f'{n:,}' for n in lengths)} | grows as N^p, p = |",
        f"| --- |{' --- |' * (len(lengths) + 1)}",
    ]
    for name, power in report["head_time_grows_as_tokens_to_the_power"].items():
        shares = " | ".join(f"{cells[name, n]['share']:.2%}" for n in lengths)
        rows.append(f"| {name} | {shares} | {power} |")
    memory = " | ".join(f"{cells['bare', n]['peak_mib']:.0f}" for n in lengths)
    rows.append(f"| memory of the pass without a head, MiB | {memory} | |")
    worst = [max(r["peak_mib"] for r in report["heads"] if r["tokens"] == n and r["head"] != "bare") for n in lengths]
    rows.append(f"| memory with the head that takes most, MiB | {' | '.join(f'{m:.0f}' for m in worst)} | |")
    return "\n".join(rows) + "\n"


def _report(name: str) -> Any:
    return json.loads((RESULTS / name).read_text("utf-8"))


def cells(name: str) -> Callable[[], str]:
    """The main table of each data set and sampling of an evaluation."""

    def make() -> str:
        view = run_view(from_result(_report(f"evaluations/{name}.json")))
        return "\n\n".join(markdown_table(shorter(cell.main)) for cell in view.cells) + "\n"

    return make


def some_systems(name: str, data: str, systems: Sequence[str]) -> Callable[[], str]:
    """Four metrics of some systems on one data set of an evaluation, best first."""

    def make() -> str:
        summary = from_result(_report(f"evaluations/{name}.json")).summary
        chosen = [c for c in summary.cells if c.data == data and c.system in systems]
        names = ("ndcg@10", "hr@10", "hr@5", "mrr")
        rows = [
            f"| {cell.system} | {' | '.join(f'{cell.metrics[metric][0]:.3f}' for metric in names)} |"
            for cell in sorted(chosen, key=lambda c: -c.metrics["ndcg@10"][0])
        ]
        return "\n".join(["| system | NDCG@10 | HR@10 | HR@5 | MRR |", "| --- | --- | --- | --- | --- |", *rows]) + "\n"

    return make


def days_table(name: str, systems: Sequence[str]) -> Callable[[], str]:
    """NDCG@10 of some systems where last item and target are of one day, so that their order may say nothing, and where not."""
    days = ("another day", "the same day")

    def make() -> str:
        rows = ["| data, candidates | system | another day | the same day |", "| --- | --- | --- | --- |"]
        for cell in from_result(_report(f"evaluations/{name}.json")).summary.cells:
            told = cell.groups.get("last item and target", {})
            if cell.system in systems and set(days) <= set(told):
                values = " | ".join(
                    f"{told[day][1]:.3f} \\[{told[day][2]:.3f}, {told[day][3]:.3f}] ({told[day][0]:,} users)"
                    for day in days
                )
                rows.append(
                    f"| {cell.data.replace('_', chr(92) + '_')}, {cell.sampling} | {cell.system.replace('_', chr(92) + '_')} | {values} |"
                )
        return "\n".join(rows) + "\n"

    return make


def noise_table(*names: str) -> Callable[[], str]:
    """How the film adapter ranks at each share of noise pages."""

    def make() -> str:
        rows = ["| noise among all pages | NDCG@10 | HR@10 |", "| --- | --- | --- |"]
        for name in names:
            run = from_result(_report(f"evaluations/{name}.json"))
            pages = run.description["corpora"]["movielens_small_2018"]["pages"]
            cell = next(c for c in run.summary.cells if c.system == "films")
            values = " | ".join("{:.3f} \\[{:.3f}, {:.3f}]".format(*cell.metrics[m]) for m in ("ndcg@10", "hr@10"))
            rows.append(f"| {pages['noise'] / sum(pages.values()):.0%} | {values} |")
        return "\n".join(rows) + "\n"

    return make


def planned(name: str) -> Callable[[], str]:
    """The comparisons that an evaluation names."""

    def make() -> str:
        table = run_view(from_result(_report(f"evaluations/{name}.json"))).planned
        assert table is not None
        return markdown_table(table) + "\n"

    return make


def planned_and_cells(name: str) -> Callable[[], str]:
    """The planned comparisons of an evaluation, then its main tables."""
    return lambda: f"{planned(name)()}\n{cells(name)()}"


def shorter(table: Table) -> Table:
    """What the documents show of it: no NDCG@5, HR@1 and smallest difference."""
    wanted = [n for n, head in enumerate(table.heads) if head not in {"NDCG@5", "HR@1", "could be seen"}]
    rows = tuple(tuple(row[n] for n in wanted) for row in table.rows)
    return Table(table.title, tuple(table.heads[n] for n in wanted), rows, table.note.partition(" Chance:")[0])


def _by_format(name: str) -> dict[str, dict[str, Any]]:
    """The reports of one bench, by the number format that each tells, and that of the machine with AVX2 alone."""
    reports = (_report(f"{name}.json"), _report(f"{name}_bfloat16.json"))
    found = {report["dtype"]: report for report in reports}
    assert list(found) == ["float32", "bfloat16"], name
    alone = _report(f"{name}_avx2.json")
    assert alone["dtype"] == "float32", name
    return found | {"float32, AVX2 alone": alone}


def _paths() -> dict[str, dict[str, Any]]:
    return {dtype: report["path"] for dtype, report in _by_format("bench_path").items()}


TABLES: dict[str, dict[str, Callable[[], str]]] = {
    "head.md": {
        "learning": lambda: head_learning.table(_report("head_learning.json")),
        "cost": lambda: cost_table(_report("bench_heads.json")),
    },
    "hostile-pages.md": {
        "flags": lambda: page_flags.flags_table(_report("page_flags.json")["rows"]),
        "attacks": lambda: attacks.attack_table(_report("attacks.json")),
    },
    "reranking.md": {"rerank": lambda: rerank_effect.rerank_table(_report("rerank_effect.json"))},
    "results.md": {
        "rivals": cells("rivals"),
        "games": cells("rivals_games"),
        "counting": cells("counting"),
        "days": days_table("rivals", ("popularity", "co_occurrence", "sasrec")),
        "crowd": planned_and_cells("crowd"),
        "web": planned("web_and_crowd"),
        "web_beauty": planned("web_and_crowd_beauty"),
        "web_cells": cells("web_and_crowd"),
        "web_cells_beauty": cells("web_and_crowd_beauty"),
        "trained": planned_and_cells("trained"),
        "trained_office": planned_and_cells("trained_office"),
        "language_models_small": planned_and_cells("language_models_small"),
        "adapter": planned_and_cells("adapter"),
        "hops": planned_and_cells("hops_small"),
        "layers": planned_and_cells("layers_small"),
        "losses": planned_and_cells("losses_small"),
        "queries": planned_and_cells("queries_asked"),
        "pages": planned_and_cells("pages_asked"),
        "noise": noise_table("noise_0.0", "noise_0.5", "noise_0.9", "noise_only"),
        "as_listed": cells("rivals_as_listed"),
        "full": lambda: full_ranking.full_table(_report("evaluations/full_ranking.json")),
    },
    "crowd.md": {"new_items": lambda: new_items.new_items_table(_report("new_items.json"))},
    "decoders.md": {"decoder": lambda: bench_decoder.decoder_table(_report("bench_decoder.json"))},
    "evaluate.md": {"actors": lambda: bench_actors.actors_table(_report("bench_actors.json"))},
    "performance.md": {
        "cold": lambda: bench_tables.cold_table(_report("bench_cold.json")["cold"]),
        "memory": lambda: bench_tables.memory_table(_report("bench_cold.json")["memory"]),
        "train": lambda: bench_train.training_table(_report("bench_train.json")),
        "limits": lambda: reasoning_limit.limits_table(_report("reasoning_limit.json")),
        "formats": lambda: approximation.approximation_table(_report("formats.json")),
        "goals": lambda: bench_tables.goals_table(_paths(), _by_format("bench_score")),
        "shares": lambda: bench_tables.shares_table(_report("bench_path.json")["path"]),
        "ratios": lambda: bench_tables.ratios_table(_paths()),
        "scoring": lambda: bench_tables.scoring_table(
            _by_format("bench_score"), _report("bench_score_two_passes.json")
        ),
        "products": lambda: bench_products.products_table(_report("bench_products.json")["products"]),
        "allocator": lambda: bench_allocator.allocator_table(_report("bench_allocator.json")["allocator"]),
    },
    "serving.md": {
        "load": lambda: bench_load.load_table(_report("bench_load.json")),
        "users": lambda: bench_users.users_table(_report("bench_users.json")),
    },
    "../adapters/films/README.md": {
        "films": some_systems(
            "language_models",  # whose training the adapter is
            "movielens_small_2018",
            ("mp-pairwise", "rag", "tuned", "zero-shot-rag", "zero-shot", "popularity", "co_occurrence", "random"),
        )
    },
    "local-index.md": {"index": lambda: bench_index.index_table(_report("bench_index.json")["index"])},
}


def filled(name: str, document: str) -> str:
    """The document `name` of docs/ with the tables between its markers."""
    for mark, make in TABLES[name].items():
        pattern = rf"(<!-- {mark}: [^>]*-->\n\n).*?(\n<!-- end -->)"
        table = make()
        document, found = re.subn(pattern, lambda m, t=table: m[1] + t + m[2], document, flags=re.DOTALL)
        if found != 1:
            raise SystemExit(
                f"{(DOCS / name).resolve().relative_to(ROOT)} has {found} places for the table {mark!r}, not one"
            )
    return document


if __name__ == "__main__":
    for name in TABLES:
        path = DOCS / name
        path.write_text(filled(name, path.read_text("utf-8")), "utf-8")
