"""Write the tables of measurements into docs/head.md from the result files, so that no number is typed by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from webrec.eval import head_learning

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "head.md"
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


def filled(document: str) -> str:
    """`document` with the tables between its markers."""
    learned = json.loads((RESULTS / "head_learning.json").read_text("utf-8"))
    cost = json.loads((RESULTS / "bench_heads.json").read_text("utf-8"))
    for name, table in (("learning", head_learning.table(learned)), ("cost", cost_table(cost))):
        pattern = rf"(<!-- {name}: [^>]*-->\n\n).*?(\n<!-- end -->)"
        document, found = re.subn(pattern, lambda m, t=table: m[1] + t + m[2], document, flags=re.DOTALL)
        if found != 1:
            raise SystemExit(f"docs/head.md has {found} places for the table {name!r}, not one")
    return document


if __name__ == "__main__":
    TARGET.write_text(filled(TARGET.read_text("utf-8")), "utf-8")
