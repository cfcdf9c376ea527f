"""The local index beside SQLite's full-text search: time to build, size, and time of a query, on the same pages and queries.

    make bench ARGS="--only index --pages FOLDER --output eval/results/bench_index.json"

The larger collections are made of the pages' own sentences, shuffled into new pages, and are reported apart. A query is three
to ten words of one page, as keywords are. Both engines may match any of the words, and both hand over title and text of
the ten best; ours also leaves out pages that share one word only, and makes `Page` records.
"""

from __future__ import annotations

import json
import random
import re
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from webrec.tools.providers.local_index import LocalIndex, build_index, pages_files, read_pages

SIZES = (100_000, 1_000_000)
QUERIES, LIMIT = 300, 10
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_WORD = re.compile(r"[A-Za-z]{4,}")

Texts = Sequence[tuple[str, str]]


def measure_index(
    pages: Path, sizes: Sequence[int] = SIZES, say: Callable[[str], None] = print
) -> list[dict[str, Any]]:
    """One row for each collection and engine. Raises `ConfigurationError` if there are no pages."""
    texts = [(str(p.get("title") or ""), p["text"]) for file in pages_files(pages) for p in read_pages(file)]
    queries = make_queries(texts, QUERIES, random.Random(0))  # noqa: S311 - a sample, not a secret
    rows = []
    for name, collection in [("as they are", texts), *((f"recombined to {n:,}", recombined(texts, n)) for n in sizes)]:
        with tempfile.TemporaryDirectory() as folder:
            for engine in (_ours, _sqlite):
                row = {
                    "collection": name,
                    "pages": len(texts) if name == "as they are" else int(name.split()[-1].replace(",", "")),
                }
                rows.append(row | engine(collection, queries, Path(folder)))
                say(json.dumps(rows[-1]))
    return rows


def make_queries(texts: Texts, count: int, generator: random.Random) -> list[str]:
    """`count` queries of three to ten words of one page each."""
    queries: list[str] = []
    while len(queries) < count:
        words = sorted(set(_WORD.findall(generator.choice(texts)[1].lower())))
        if len(words) >= 3:
            queries.append(" ".join(generator.sample(words, min(len(words), generator.randint(3, 10)))))
    return queries


def recombined(texts: Texts, count: int) -> Iterable[tuple[str, str]]:
    """`count` pages of the titles and sentences of `texts`, drawn at random; each as long as one of them."""
    generator = random.Random(1)  # noqa: S311
    sentences = [s for _, text in texts for s in _SENTENCE.split(text)]
    lengths = [len(_SENTENCE.split(text)) for _, text in texts]
    for _ in range(count):
        text = " ".join(generator.choices(sentences, k=generator.choice(lengths)))
        yield generator.choice(texts)[0], text


def _ours(texts: Iterable[tuple[str, str]], queries: Sequence[str], folder: Path) -> dict[str, Any]:
    records, kept = folder / "pages.jsonl", folder / "index"
    with records.open("w", encoding="utf-8") as file:
        for title, text in texts:
            file.write(json.dumps({"title": title, "text": text}) + "\n")
    kept.mkdir()
    began = time.perf_counter()
    index = build_index([records], kept)
    built = time.perf_counter() - began
    provider = LocalIndex(records)

    def ask(query: str) -> int:
        return len(provider.search_in(index, query, LIMIT))

    return {"engine": "tantivy (ours)", **_figures(built, _size(kept), ask, queries)}


def _sqlite(texts: Iterable[tuple[str, str]], queries: Sequence[str], folder: Path) -> dict[str, Any]:
    path = folder / "pages.sqlite"
    records = (json.loads(line) for line in (folder / "pages.jsonl").open(encoding="utf-8"))
    began = time.perf_counter()
    with sqlite3.connect(path) as database:
        database.execute("CREATE VIRTUAL TABLE pages USING fts5(title, text, tokenize = 'porter unicode61')")
        database.executemany("INSERT INTO pages VALUES (?, ?)", ((r["title"], r["text"]) for r in records))
        database.commit()
        built = time.perf_counter() - began

        def ask(query: str) -> int:
            words = " OR ".join(f'"{word}"' for word in query.split())
            found = database.execute(
                "SELECT title, text FROM pages WHERE pages MATCH ? ORDER BY rank LIMIT ?", (words, LIMIT)
            )
            return len(found.fetchall())

        row = {"engine": "SQLite FTS5", **_figures(built, path.stat().st_size, ask, queries)}
    database.close()
    return row


def _figures(built: float, size: int, ask: Callable[[str], int], queries: Sequence[str]) -> dict[str, Any]:
    for query in queries[:10]:
        ask(query)  # warm
    times, found = [], 0
    for query in queries:
        began = time.perf_counter()
        found += ask(query)
        times.append(1000 * (time.perf_counter() - began))
    cuts = statistics.quantiles(times, n=20)
    return {
        "build_seconds": round(built, 2),
        "mib": round(size / 2**20, 2),
        "query_ms_p50": round(statistics.median(times), 3),
        "query_ms_p95": round(cuts[-1], 3),
        "pages_found": found,
    }


def _size(folder: Path) -> int:
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())


def index_table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = [
        "| pages | engine | build, s | size, MiB | query p50, ms | p95, ms |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        figures = " | ".join(f"{row[name]:,}" for name in ("build_seconds", "mib", "query_ms_p50", "query_ms_p95"))
        lines.append(f"| {row['pages']:,} {row['collection'].split(' to ')[0]} | {row['engine']} | {figures} |")
    return "\n".join(lines) + "\n"
