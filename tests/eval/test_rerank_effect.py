"""The measurement of re-ranking: which pages count as relevant, and that it tells gain from none."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from webrec.eval.rerank_effect import (
    SOURCES,
    WAYS,
    Case,
    cases,
    gather_pages,
    measure_one,
    rerank_table,
    shares,
    summarise,
)
from webrec.tools.page import Page


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """40 films, users with 12 of them and one with too few; two pages on films, one on a film nobody knows, one of noise."""
    for folder in ("movielens_small_2018", *SOURCES):
        (tmp_path / folder).mkdir()

    def lines(name: str, rows: list[dict[str, Any]]) -> None:
        with gzip.open(tmp_path / name, "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)

    def table(name: str, rows: list[list[str]]) -> None:
        with gzip.open(tmp_path / name, "wt", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)

    lines("movielens_small_2018/items.jsonl.gz", [{"item_id": str(n), "title": f"Film {n}"} for n in range(40)])
    rows = [[user, str(n)] for user in ("a", "b") for n in range(12)] + [["few", str(n)] for n in range(10)]
    table("movielens_small_2018/interactions.csv.gz", [["user_id", "item_id"], *rows])
    table("film_pages_wikipedia/movielens_matches.csv.gz", [["movielens_item_id", "page_id"], ["11", "Eleven"]])
    pages = [
        {"id": "Eleven", "title": "Eleven", "text": "On film eleven."},
        {"id": "X", "title": "X", "text": "Unknown."},
    ]
    lines("film_pages_wikipedia/pages.jsonl.gz", pages)
    review = {"id": "r", "title": "User review", "text": "I saw it.", "movielens_item_id": "3"}
    lines("film_reviews_imdb/pages.jsonl.gz", [review])
    for noise in SOURCES[2:]:
        lines(f"{noise}/pages.jsonl.gz", [{"id": 11, "title": None, "text": "Noise.", "movielens_item_id": "11"}])
    return tmp_path


def test_users_and_what_is_relevant_to_them(data: Path) -> None:
    made = cases(data, 10)
    assert sorted(case.user for case in made) == ["a", "b"]
    assert made == cases(data, 10)
    for case in made:
        assert case.history == tuple(f"Film {n}" for n in range(1, 11))
        assert len(set(case.candidates)) == 20
        assert case.relevant["target"] == {"11"}
        assert "Film 11" in case.candidates
        assert {f"Film {i}" for i in case.relevant["candidates"]} == set(case.candidates)
        assert not {f"Film {n}" for n in range(11)} & set(case.candidates)
        assert case.relevant["candidates or history"] == case.relevant["candidates"] | {str(n) for n in range(1, 11)}


def test_films_of_pages(data: Path, tmp_path: Path) -> None:
    films = gather_pages(data, tmp_path / "pages.jsonl")
    assert films == {
        "https://film-pages-wikipedia.example/0": "11",
        "https://film-reviews-imdb.example/0": "3",
    }
    written = [json.loads(line) for line in (tmp_path / "pages.jsonl").read_text("utf-8").splitlines()]
    assert len(written) == 5
    assert len({page["url"] for page in written}) == 5
    assert all(isinstance(page["title"], str) for page in written)


def page(film: str) -> Page:
    return Page(title=f"on {film}", snippet=f"text {film}", url=f"https://x.example/{film}", provider="p")


FILMS = {f"https://x.example/{n}": str(n) for n in range(30)}
CASE = Case(
    "u",
    ("on 7",),
    ("x",),
    {"target": frozenset("1"), "candidates": frozenset("12"), "candidates or history": frozenset("123")},
)


def test_shares() -> None:
    assert shares([page("1"), page("1"), page("2"), page("3"), page("99")], CASE, FILMS) == {
        "target": 1.0,
        "candidates": 0.6,
        "candidates or history": 0.8,
    }
    assert set(shares([], CASE, FILMS).values()) == {0.0}


def test_re_ranking_that_prefers_relevant_pages_is_seen() -> None:
    """Embeddings that put the pages on films 1 and 2, found last, nearest to the query."""

    def encode(texts: Any) -> Any:
        near = [any(f"text {n}" == t.split(". ")[-1] for n in (1, 2)) or t == "ask" for t in texts]
        return np.array([[1.0, 0.0] if n else [0.0, 1.0] for n in near], dtype=np.float32)

    pool = [page(str(n)) for n in [*range(8, 20), 1, 2]]
    measured = measure_one(CASE, "ask", pool, FILMS, encode)  # type: ignore[arg-type]
    assert set(measured) == {"pool", "found", *(f"{by} {diversity}" for by, diversity in WAYS)}
    assert measured["found"]["candidates"] == 0
    assert measured["query 0.0"] == {"target": 1.0, "candidates": 0.2, "candidates or history": 0.2}
    assert measured["pool"]["candidates"] == pytest.approx(2 / 14)
    assert measured["history 0.0"]["candidates"] == 0


def test_summary_and_table() -> None:
    def row(user: int, gain: float) -> dict[str, Any]:
        ways = {"pool": 0.1, "found": 0.2, "query 0.0": 0.2 + gain, "query 0.3": 0.2}
        return {"query": "q", "shares": {way: dict.fromkeys(CASE.relevant, value) for way, value in ways.items()}}

    rows = [row(n, 0.1 if n % 4 else 0.5) for n in range(40)]
    summary = summarise(rows)
    better = next(s for s in summary if (s["way"], s["view"]) == ("query 0.0", "candidates"))
    assert (better["mean"], better["gain"], better["users"]) == (0.4, 0.2, 40)
    assert 0.13 < better["low"] < 0.17
    assert 0.23 < better["high"] < 0.27
    same = next(s for s in summary if s["way"] == "query 0.3")
    assert (same["gain"], same["low"], same["high"]) == (0, 0, 0)
    table = rerank_table({"summary": summary})
    assert "| q (40 users) | the first 10 found | 0.200 | 0.200 | 0.200 |" in table
    assert "| q (40 users) | re-ranked by query | 0.400 (+0.200, +0.1" in table
    assert "re-ranked by query, diversity 0.3" in table
