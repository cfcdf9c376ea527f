"""How often instruction-like passages are flagged: in attack collections, and in pages that are none.

    python -m webrec.eval.page_flags --data FOLDER --output eval/results/page_flags.json

`FOLDER` holds `attacks` and the page collections. Attack templates of ours are filled in with a candidate's title, as an
attacker would.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from webrec.eval.attack_passages import own_passages
from webrec.eval.provenance import provenance
from webrec.tools.providers.local_index import read_pages
from webrec.tools.reading.instructions import flags
from webrec.tools.text_safety import clean

COLLECTIONS = ("film_pages_wikipedia", "film_reviews_imdb", "noise_newsgroups", "noise_reddit")
PAGES = 2_000
CANDIDATES = ("Toy Story (1995)", "Heat (1995)", "The Thing (1982)", "Amélie (2001)", "Alien (1979)")


def attack_texts(folder: Path) -> Iterator[tuple[str, str]]:
    """(kind, text) of every attack. Raises `OSError` if a file is missing."""
    for target in CANDIDATES:
        yield from ((f"ours: {p.kind}", p.text) for p in own_passages(target, CANDIDATES[0]))
    for texts in json.loads((folder / "bipia_text_attacks.json").read_text("utf-8")).values():
        yield from (("BIPIA tasks", text) for text in texts)
    for entry in json.loads((folder / "poisonedrag_msmarco.json").read_text("utf-8")).values():
        yield from (("PoisonedRAG claims", text) for text in entry["adv_texts"])
    for book in json.loads((folder / "rank_optimizer_books.json").read_text("utf-8")):
        yield "rank optimiser strings", book["text"]


def measure(data: Path, pages: int = PAGES) -> list[dict[str, Any]]:
    """One row for each kind of attack, then for each collection: texts, share flagged, and by which kinds of flag."""
    attacks: dict[str, list[tuple[str, str]]] = {}
    for kind, text in attack_texts(data / "attacks"):
        attacks.setdefault(kind, []).append(("", text))
    rows = [_row(kind, True, texts) for kind, texts in attacks.items()]
    generator = random.Random(0)  # noqa: S311 - a sample, not a secret
    for name in COLLECTIONS:
        found = [(str(p.get("title") or ""), p["text"]) for p in read_pages(data / name / "pages.jsonl.gz")]
        rows.append(_row(name, False, generator.sample(found, min(pages, len(found)))))
    return rows


def _row(name: str, attack: bool, texts: Sequence[tuple[str, str]]) -> dict[str, Any]:
    kinds = [
        sorted({f.kind for f in flags(clean(title, 300), clean(text, 2_000), CANDIDATES)}) for title, text in texts
    ]
    return {
        "texts of": name,
        "attack": attack,
        "texts": len(texts),
        "flagged": round(sum(map(bool, kinds)) / len(texts), 4),
        "by": dict(Counter(kind for found in kinds for kind in found).most_common()),
    }


def flags_table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = ["| texts | how many | flagged | as |", "| --- | --- | --- | --- |"]
    for row in rows:
        kinds = ", ".join(f"{kind.replace('_', ' ')} {count}" for kind, count in list(row["by"].items())[:3])
        name = row["texts of"] if row["attack"] else f"no attack: {row['texts of']}"
        lines.append(f"| {name} | {row['texts']:,} | {row['flagged']:.1%} | {kinds} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print the table, and write the rows where `--output` says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--output", type=Path, required=True, help="JSON file for the result")
    chosen = parser.parse_args()
    rows = measure(chosen.data)
    report = {**provenance(), "seed": 0, "rows": rows}
    chosen.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(flags_table(rows))


if __name__ == "__main__":
    main()
