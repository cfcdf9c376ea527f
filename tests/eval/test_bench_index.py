"""The two engines of the index measurement work on the same pages and queries."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from webrec.errors import ConfigurationError
from webrec.eval.bench_index import index_table, make_queries, measure_index, recombined

WORDS = [
    "lantern",
    "harbour",
    "violin",
    "copper",
    "meadow",
    "thunder",
    "walnut",
    "ribbon",
    "glacier",
    "saddle",
    "pepper",
    "marble",
]


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    generator = random.Random(0)
    lines = [
        {"title": f"Page {n}", "text": ". ".join(" ".join(generator.choices(WORDS, k=6)) for _ in range(3))}
        for n in range(30)
    ]
    (tmp_path / "pages.jsonl").write_text("\n".join(map(json.dumps, lines)), "utf-8")
    return tmp_path


def test_both_engines_find_pages(pages: Path) -> None:
    said: list[str] = []
    rows = measure_index(pages, [40], said.append)
    assert [(row["pages"], row["engine"]) for row in rows] == [
        (30, "tantivy (ours)"),
        (30, "SQLite FTS5"),
        (40, "tantivy (ours)"),
        (40, "SQLite FTS5"),
    ]
    for row in rows:
        assert row["pages_found"] > 1000
        assert row["mib"] > 0
        assert 0 < row["query_ms_p50"] <= row["query_ms_p95"]
    assert len(said) == 4
    assert index_table(rows).count("\n") == 6


def test_queries_and_collections_are_the_same_every_time(pages: Path) -> None:
    texts = [(f"t{n}", f"The {WORDS[n]} is {WORDS[n + 1]}. Not a {WORDS[n + 2]}!") for n in range(8)]
    assert make_queries(texts, 5, random.Random(0)) == make_queries(texts, 5, random.Random(0))
    made = list(recombined(texts, 20))
    assert made == list(recombined(texts, 20))
    assert len(made) == 20
    sentences = {s for _, text in texts for s in (text.split(". ")[0] + ".", text.split(". ")[1])}
    assert all(any(s in text for s in sentences) for _, text in made)


def test_no_pages_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="holds no page"):
        measure_index(tmp_path)
