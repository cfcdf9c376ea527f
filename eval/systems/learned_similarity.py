"""Items like those of the history, where what is alike was learned from what followed what in training."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from webrec.errors import ConfigurationError
from webrec.eval.data.dataset import RankingExample, TrainingData
from webrec.eval.model_identity import folder_identity
from webrec.eval.systems.epoch_checkpoint import Checkpoint, Epoch
from webrec.eval.systems.epochs import Plan, example_told, mean_ndcg, train
from webrec.eval.systems.system import NotFittedError, OneByOne
from webrec.models.content_store import open_content_store
from webrec.models.kept_embeddings import encode_kept
from webrec.models.sentence_encoder import MINILM, get_sentence_encoder
from webrec.models.threads import torch_threads
from webrec.tools.crowd.similarity import LearnedSimilarity

if TYPE_CHECKING:
    import torch

    from webrec.eval.systems.similarity_network import Piece


class LearnedSimilaritySystem(OneByOne):
    """Sentence embeddings of titles, or of titles and pages, and what of them tells which item comes next.

    `texts`: what pages say of items; None reads titles alone. An item is known by its text, and one that nobody took in training by that alone. `offsets`:
    whether the others have something of their own beside it. `max_length`: last items of a history that are read.
    `negatives`: other items that a step tells the targets from. `patience`, `threads`, `folder`, `on_epoch`: as of `SASRec`. Raises
    `BackboneError` from `fit` where the encoder's weights cannot be had.
    """

    name = "learned_similarity"

    def __init__(
        self,
        texts: Mapping[str, str] | None = None,
        *,
        model: str = MINILM,
        offsets: bool = True,
        max_length: int = 10,
        negatives: int = 512,
        dropout: float = 0.2,
        epochs: int = 30,
        patience: int = 3,
        batch: int = 256,
        learning_rate: float = 1e-3,
        threads: int = 1,
        folder: Path | str | None = None,
        on_epoch: Callable[[Epoch], None] = lambda _: None,
    ) -> None:
        self._texts, self._model, self._offsets = texts or {}, model, offsets
        self._length, self._negatives, self._dropout = max_length, negatives, dropout
        self._plan = Plan(epochs, patience, batch, learning_rate, seed=0)
        self._threads = threads
        self._folder = None if folder is None else Path(folder)
        self._on_epoch = on_epoch
        self._numbers: dict[str, int] = {}
        self.learned: LearnedSimilarity | None = None
        self.curve: list[Epoch] = []

    def fit(self, training: TrainingData, seed: int, validation: Sequence[RankingExample] = ()) -> None:
        """Train. Raises `ConfigurationError` on a sequence-less training set or a folder of another training."""
        import torch

        from webrec.eval.systems.similarity_network import SimilarityNetwork

        self.learned = None
        self._numbers = {item: number for number, item in enumerate(sorted(training.items))}
        pieces = self._pieces(training)
        if not pieces:
            raise ConfigurationError("training holds no user with two items, so there is nothing to learn from")
        plan = replace(self._plan, seed=seed)
        with torch_threads(self._threads), torch.random.fork_rng(devices=[]):
            texts = self._read(training)
            vectors = encode_kept(open_content_store(), get_sentence_encoder(self._model))(texts)
            checkpoint = self._checkpoint(plan, texts, pieces, validation)
            taken = np.zeros(len(self._numbers), np.bool_)
            taken[[item for past, target in pieces for item in (*past, target)]] = True
            network = SimilarityNetwork(vectors, self._length, taken if self._offsets else None)

            def loss_of(batch: Sequence[Piece]) -> tuple[torch.Tensor, int]:
                return network.loss(batch, self._negatives, self._dropout), len(batch)

            def value() -> float:
                learned = network.learned()
                return mean_ndcg([self._scores(learned, example) for example in validation], validation)

            self.curve = train(
                network, pieces, loss_of, plan, value if validation else None, checkpoint, self._on_epoch
            )
            self.learned = network.learned()

    def rank(self, example: RankingExample) -> list[float]:
        """Log-odds in nats up to a constant. Raises `ConfigurationError` on an unknown item."""
        if self.learned is None:
            raise NotFittedError(self.name)
        return self._scores(self.learned, example)

    def _scores(self, learned: LearnedSimilarity, example: RankingExample) -> list[float]:
        try:
            past, asked = (
                np.array([self._numbers[item] for item in items], np.int64)
                for items in (example.history, example.candidates)
            )
        except KeyError as error:
            raise ConfigurationError(f"the item {error.args[0]} of an example is not among training's items") from None
        return [float(score) for score in learned.scores(past, asked)]

    def _pieces(self, training: TrainingData) -> list[Piece]:
        coded = [tuple(self._numbers[item] for item in sequence) for sequence in training.sequences.values()]
        return [
            (sequence[max(0, place - self._length) : place], sequence[place])
            for sequence in coded
            for place in range(1, len(sequence))
        ]

    def _read(self, training: TrainingData) -> list[str]:
        return [" ".join(filter(None, (training.items[item].title, self._texts.get(item)))) for item in self._numbers]

    def _checkpoint(
        self, plan: Plan, texts: Sequence[str], pieces: Sequence[Piece], validation: Sequence[RankingExample]
    ) -> Checkpoint | None:
        if self._folder is None:
            return None
        # Texts and model, not the embeddings, whose last bits depend on what they were computed beside.
        read = [texts, folder_identity(self._model)]
        shape = [self._offsets, self._length, self._negatives, self._dropout, plan.told(), list(self._numbers)]
        told = json.dumps([read, shape, pieces, list(map(example_told, validation))])
        return Checkpoint(self._folder, hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest())
