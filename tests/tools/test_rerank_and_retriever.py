"""FAISS re-ranking against a plain sort, and LangChain retrievers as providers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from numpy.typing import NDArray

from webrec.errors import SearchError
from webrec.tools.providers.langchain_retriever import LangChainRetriever
from webrec.tools.ranking.faiss_rerank import nearest


def test_nearest_is_the_exact_order_of_cosines_ties_first_come() -> None:
    vectors = np.random.default_rng(0).normal(size=(41, 16)).astype(np.float32)
    vectors[7] = vectors[3]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    texts = [str(n) for n in range(1, 41)]

    def encode(wanted: Sequence[str]) -> NDArray[np.float32]:
        return np.stack([vectors[int(t)] for t in wanted])

    found = nearest("0", texts, 12, encode)
    cosines = vectors[1:].astype(np.float64) @ vectors[0].astype(np.float64)
    expected = sorted(range(40), key=lambda i: (-round(float(cosines[i]), 6), i))[:12]
    assert [i for i, _ in found] == expected
    assert [s for _, s in found] == pytest.approx([float(cosines[i]) for i in expected], abs=1e-5)
    assert nearest("0", [], 5, encode) == []


class Shelf(BaseRetriever):
    fail: bool = False

    def _get_relevant_documents(self, query: str, **kwargs: Any) -> list[Document]:
        if self.fail:
            raise RuntimeError(f"secret {query}")
        return [Document(f"text {n}", metadata={"title": f"t{n}", "source": "https://a.example/"}) for n in range(5)]


def test_a_langchain_retriever_is_a_provider() -> None:
    pages = asyncio.run(LangChainRetriever(Shelf(), name="shelf").search("boots", 2))
    assert [(p.title, p.snippet, p.url, p.provider) for p in pages] == [
        ("t0", "text 0", "https://a.example/", "shelf"),
        ("t1", "text 1", "https://a.example/", "shelf"),
    ]
    with pytest.raises(SearchError, match=r"^langchain failed \(RuntimeError\)$"):
        asyncio.run(LangChainRetriever(Shelf(fail=True)).search("boots", 2))
