"""How alike candidates and history are in meaning, by sentence embeddings of titles, or of titles and pages about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from webrec.eval.data.dataset import RankingExample, TrainingData
from webrec.eval.systems.system import NotFittedError
from webrec.models.sentence_encoder import MINILM, get_sentence_encoder
from webrec.models.threads import torch_threads


class TextSimilarity:
    """Cosine between the embeddings of a candidate and of the history's items: their mean, or the largest.

    `texts`: what pages say of items; None compares titles alone. An item without a page is its title, so that having a page is no
    evidence by itself. `threads`: CPU threads of the encoder. Raises `BackboneError` where the encoder's weights cannot be had.
    """

    def __init__(
        self,
        texts: Mapping[str, str] | None = None,
        by: Literal["mean", "most"] = "mean",
        model: str = MINILM,
        threads: int = 1,
    ) -> None:
        self.name = "title_similarity" if texts is None else "page_similarity"
        self._texts, self._by, self._model, self._threads = texts or {}, by, model, threads
        self._titles: Mapping[str, str] | None = None
        self._vectors: dict[str, npt.NDArray[np.float32]] = {}

    def fit(self, training: TrainingData, seed: int, validation: Sequence[RankingExample] = ()) -> None:
        """Keep the titles; nothing is learned."""
        self._titles = {item_id: item.title for item_id, item in training.items.items()}
        self._vectors = {}

    def rank(self, example: RankingExample) -> list[float]:
        """Cosines from -1 to 1; without a history 0."""
        return self.rank_many([example])[0]

    def rank_many(self, examples: Sequence[RankingExample]) -> list[list[float]]:
        """`rank` of each; texts that were not met before are encoded together."""
        if self._titles is None:
            raise NotFittedError(self.name)
        self._encode(list(dict.fromkeys(i for e in examples for i in (*e.history, *e.candidates))))
        return [self._scores(example) for example in examples]

    def _encode(self, items: Sequence[str]) -> None:
        if fresh := [item for item in items if item not in self._vectors]:
            with torch_threads(self._threads):
                vectors = get_sentence_encoder(self._model).encode([self._text(item) for item in fresh])
            self._vectors.update(zip(fresh, vectors, strict=True))

    def _text(self, item: str) -> str:
        assert self._titles is not None
        return " ".join(filter(None, (self._titles[item], self._texts.get(item))))

    def _scores(self, example: RankingExample) -> list[float]:
        if not example.history:
            return [0.0] * len(example.candidates)
        past = np.stack([self._vectors[item] for item in example.history])
        # One candidate at a time: the last bits of a product of two matrices depend on their order.
        cosines = [past @ self._vectors[item] for item in example.candidates]
        return [float(each.mean() if self._by == "mean" else each.max()) for each in cosines]
