"""Similarity of titles and pages, with an encoder whose embeddings are counts of letters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from webrec.eval.systems import text_similarity
from webrec.eval.systems.text_similarity import TextSimilarity

from .contract import EXAMPLES, TRAINING, SystemContract


class Letters:
    """Unit-length counts of characters; remembers what it was given."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """(texts, 128)."""
        self.asked += texts
        counts = np.array([[text.count(chr(code)) for code in range(128)] for text in texts], np.float32)
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)


@pytest.fixture(autouse=True)
def encoder(monkeypatch: pytest.MonkeyPatch) -> Letters:
    letters = Letters()
    monkeypatch.setattr(text_similarity, "get_sentence_encoder", lambda _: letters)
    return letters


class TestTitleSimilarity(SystemContract):
    make = staticmethod(TextSimilarity)
    learns = False


class TestPageSimilarity(TestTitleSimilarity):
    make = staticmethod(lambda: TextSimilarity({"i03": "A page."}, "most"))


def cosine(a: str, b: str) -> float:
    first, second = Letters().encode([a, b])
    return float(first @ second)


def test_the_mean_and_the_most_alike(encoder: Letters) -> None:
    example = EXAMPLES[0]
    titles = {i: item.title for i, item in TRAINING.items.items()}
    cosines = [[cosine(titles[h], titles[c]) for h in example.history] for c in example.candidates]
    mean, most = TextSimilarity(), TextSimilarity(by="most")
    for system in (mean, most):
        system.fit(TRAINING, 0)
    assert mean.rank(example) == pytest.approx([sum(row) / len(row) for row in cosines], abs=1e-6)
    assert most.rank(example) == pytest.approx([max(row) for row in cosines], abs=1e-6)
    before = len(encoder.asked)
    mean.rank_many([example, EXAMPLES[1]])
    assert len(encoder.asked) == before + len(
        {*EXAMPLES[1].history, *EXAMPLES[1].candidates} - {*example.history, *example.candidates}
    )
    assert mean.rank(replace(example, history=())) == [0.0] * 20


def test_pages_stand_behind_titles_and_an_item_without_is_its_title(encoder: Letters) -> None:
    example = EXAMPLES[0]
    system = TextSimilarity({example.candidates[0]: "Soft soap."})
    system.fit(TRAINING, 0)
    system.rank(example)
    titles = [TRAINING.items[i].title for i in example.candidates[:2]]
    assert f"{titles[0]} Soft soap." in encoder.asked
    assert titles[0] not in encoder.asked
    assert titles[1] in encoder.asked
    assert system.name == "page_similarity"
