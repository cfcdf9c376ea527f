"""Re-ranking pages: what they are compared with, long pages, and order, with an encoder that counts letters."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from webrec.errors import InputError, MissingExtraError
from webrec.tools.ranking.faiss_rerank import RerankBy, nearest, rerank_pages
from webrec.tools.ranking.passages import MOST, PASSAGE, passages

LETTERS = "abcdefgh"


def encode(texts: Sequence[str]) -> NDArray[np.float32]:
    counts = np.array([[text.count(c) for c in LETTERS] for text in texts], dtype=np.float32).reshape(-1, len(LETTERS))
    return counts / np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1e-9)


def reference(pages: Sequence[tuple[str, str]], query: str, history: Sequence[str], by: RerankBy) -> list[float]:
    def vector(text: str) -> NDArray[np.float64]:
        return np.asarray(encode([text])[0].astype(np.float64))

    def unit(v: NDArray[np.float64]) -> NDArray[np.float64]:
        return v / max(float(np.linalg.norm(v)), 1e-9)

    taste = unit(np.sum([vector(h) for h in history], axis=0)) if history else vector(query)
    target = {"query": vector(query), "history": taste, "both": unit(vector(query) + taste)}[by]
    return [max(float(target @ vector(f"{title}. {p}")) for p in passages(text)) for title, text in pages]


WORDS = st.text(st.sampled_from(LETTERS + " "), min_size=1, max_size=8)


@given(
    st.lists(st.tuples(WORDS, WORDS), max_size=8),
    WORDS,
    st.lists(WORDS, min_size=1, max_size=4),
    st.sampled_from(["query", "history", "both"]),
)
def test_similarities_and_order(pages: list[tuple[str, str]], query: str, history: list[str], by: RerankBy) -> None:
    found = rerank_pages(pages, len(pages), encode, query=query, history=history, by=by)
    expected = reference(pages, query, history, by)
    assert [expected[i] for i, _ in found] == pytest.approx([s for _, s in found], abs=1e-5)
    assert sorted(i for i, _ in found) == list(range(len(pages)))
    assert [s for _, s in found] == sorted((s for _, s in found), reverse=True)


PAGES = [("a", "aaab"), ("c", "cc"), ("d", "dddc"), ("a", "aaab")]


def test_what_pages_are_compared_with() -> None:
    def order(by: RerankBy, query: str = "a", history: Sequence[str] = ("c", "d", "d")) -> list[int]:
        return [i for i, _ in rerank_pages(PAGES, 4, encode, query=query, history=history, by=by)]

    assert order("query") == [0, 3, 1, 2]
    assert order("history") == [2, 1, 0, 3]
    assert order("both", "c", ("d", "d")) == [2, 1, 0, 3]


@pytest.mark.parametrize("by", ["history", "both"])
def test_an_empty_history_is_refused(by: RerankBy) -> None:
    with pytest.raises(InputError, match=r"^history: it is empty"):
        rerank_pages(PAGES, 4, encode, query="a", by=by)


def test_each_title_of_the_history_weighs_the_same_whatever_its_length() -> None:
    by_short = rerank_pages(PAGES, 4, encode, query="", history=["c" * 50, "d"], by="history")
    by_long = rerank_pages(PAGES, 4, encode, query="", history=["c", "d"], by="history")
    assert by_short == by_long


def test_diversity_keeps_a_copy_out() -> None:
    pages = [("a", "aaab"), ("a", "aaab"), ("a", "c")]
    assert [i for i, _ in rerank_pages(pages, 2, encode, query="a", diversity=0.0)] == [0, 1]
    found = rerank_pages(pages, 2, encode, query="a", diversity=0.5)
    assert [i for i, _ in found] == [0, 2]
    assert found[1][1] == pytest.approx(2**-0.5, abs=1e-5)  # to the query, not the score that chose it


def test_a_page_is_as_near_as_its_best_passage() -> None:
    long = "b" * 990 + ". " + "Xyz. " * 50 + "a" * 8 + "."
    assert len(passages(long)) > 1
    found = dict(rerank_pages([("t", long), ("t", "ab")], 2, encode, query="a"))
    assert found[0] == pytest.approx(1, abs=1e-5)
    assert found[1] < 0.8


def test_equal_pages_keep_their_order() -> None:
    pages = [("t", "ab")] * 5
    assert [i for i, _ in rerank_pages(pages, 3, encode, query="a")] == [0, 1, 2]
    assert rerank_pages([], 3, encode, query="a") == []


def test_without_faiss_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec

    def find(name: str, *rest: Any) -> Any:
        return None if name == "faiss" else real(name, *rest)

    monkeypatch.setattr("webrec.tools.ranking.faiss_rerank.find_spec", find)
    for call in (lambda: nearest("a", [], 1, encode), lambda: rerank_pages([], 1, encode, query="a")):
        with pytest.raises(MissingExtraError, match=r"webrec\[rerank\]"):
            call()


@given(st.lists(st.sampled_from(["One is here. ", "two ", "x" * 300, "三。", "  "]), max_size=60).map("".join))
def test_passages_are_the_text_from_its_beginning(text: str) -> None:
    found = passages(text)
    assert 1 <= len(found) <= MOST
    assert all(0 < len(p) <= PASSAGE for p in found) or found == [""]
    joined = "".join(text.split())
    together = "".join("".join(found).split())
    assert joined.startswith(together)
    if len(found) < MOST:
        assert together == joined
