"""Small crowds: counted, with a learned likeness, and with maps for titles that they do not know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from webrec.tools.crowd.choice import ChoiceModel
from webrec.tools.crowd.records import ItemFacts, Records
from webrec.tools.crowd.saved import SavedCrowd
from webrec.tools.crowd.similarity import LEARNED, LearnedSimilarity, TextMaps

TITLES = ["Soap", "Brush", "Towel", "Cream", "Brush"]
FACTS = {f"x{n}": ItemFacts(title, "Dove" if n else None, ("bath",), 2000 + n) for n, title in enumerate(TITLES)}
RECORDS = Records(FACTS, [["x0", "x1"], ["x0", "x1", "x2"], ["x3", "x0", "x1"]], [[1, 2], [3, 4, 5], [6, 7, 8]])
CROWD = SavedCrowd(RECORDS, ChoiceModel(("next_1", "popularity"), np.array([2.0, 0.5]), np.array([1.0, 0.5])))


def learned() -> SavedCrowd:
    rng = np.random.default_rng(0)

    def rows() -> np.ndarray:
        drawn = rng.normal(size=(5, 4))
        return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)

    similarity = LearnedSimilarity(rows(), rows(), rng.normal(size=3), rng.normal(size=5), 6.0)
    names = ("next_1", *LEARNED)
    return SavedCrowd(RECORDS, ChoiceModel(names, np.ones(3), np.array([2.0, 1.5, -0.5])), similarity)


def embedded(texts: Sequence[str]) -> np.ndarray:
    return np.stack([np.random.default_rng(list(text.encode())).normal(size=4) for text in texts]).astype(np.float32)


def with_maps() -> SavedCrowd:
    crowd, rng = learned(), np.random.default_rng(7)
    assert crowd.similarity is not None
    maps = TextMaps(*(rng.normal(size=shape).astype(np.float32) for shape in ((4,), (4, 4), (4, 4))))
    return replace(crowd, similarity=replace(crowd.similarity, maps=maps))
