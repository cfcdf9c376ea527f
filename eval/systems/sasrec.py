"""SASRec (Kang and McAuley 2018): self-attention over the sequence of items, the usual rival without text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from webrec.errors import ConfigurationError
from webrec.eval.data.dataset import RankingExample, TrainingData
from webrec.eval.systems.epoch_checkpoint import Checkpoint, Epoch
from webrec.eval.systems.epochs import Plan, example_told, mean_ndcg, train
from webrec.eval.systems.sasrec_network import build_network, hidden_states, item_vectors, left_padded
from webrec.eval.systems.sasrec_training import batch_loss, windows
from webrec.eval.systems.system import NotFittedError
from webrec.models.threads import torch_threads

_AT_ONCE = 256


class SASRec:
    """The network of the library RePlay (extra `sasrec`) behind the protocol of systems.

    Settings are those of the paper for sparse data (width 50, two blocks of one head, dropout .5, Adam with beta2 .98, batch
    128), but the loss is the cross-entropy over all items, which is the stronger rival (Klenitskiy and Vasilev 2023).
    `patience`: epochs without a better NDCG@10 on the validation examples after which to stop; without such examples all
    `epochs` are run. `threads`: CPU threads while it works. `folder`: where each epoch is kept and a cut-off run resumed. `on_epoch` hears of each.
    Raises `MissingExtraError` from `fit` without the library.
    """

    name = "sasrec"

    def __init__(
        self,
        *,
        width: int = 50,
        blocks: int = 2,
        heads: int = 1,
        max_length: int = 50,
        dropout: float = 0.5,
        epochs: int = 200,
        patience: int = 10,
        batch: int = 128,
        learning_rate: float = 1e-3,
        threads: int = 1,
        folder: Path | str | None = None,
        on_epoch: Callable[[Epoch], None] = lambda _: None,
    ) -> None:
        numbers = {"width": width, "blocks": blocks, "heads": heads, "max_length": max_length, "epochs": epochs}
        for field, number in {**numbers, "patience": patience, "batch": batch, "threads": threads}.items():
            if number < 1:
                raise ConfigurationError(f"{field} must be at least 1")
        if width % heads:
            raise ConfigurationError("width must be a multiple of heads")
        if not 0 <= dropout < 1:
            raise ConfigurationError("dropout must be from 0 to below 1")
        if not learning_rate > 0:
            raise ConfigurationError("learning_rate must be above 0")
        self._shape: dict[str, Any] = {**numbers, "dropout": dropout}
        del self._shape["epochs"]
        self._plan = Plan(epochs, patience, batch, learning_rate, seed=0)
        self._threads = threads
        self._folder = None if folder is None else Path(folder)
        self._on_epoch = on_epoch
        self._network: Any = None
        self._numbers: dict[str, int] = {}
        self.curve: list[Epoch] = []

    def fit(self, training: TrainingData, seed: int, validation: Sequence[RankingExample] = ()) -> None:
        """Train. Raises `ConfigurationError` on a sequence-less training set or a folder of another training."""
        import torch

        self._numbers = {item: number for number, item in enumerate(sorted(training.items))}
        sequences = [[self._numbers[item] for item in sequence] for sequence in training.sequences.values()]
        pieces = windows(sequences, int(self._shape["max_length"]))
        if not pieces:
            raise ConfigurationError("training holds no user with two items, so SASRec has nothing to learn from")
        plan = replace(self._plan, seed=seed)
        checkpoint = None
        if self._folder is not None:
            told = [self._shape, plan.told(), sorted(training.items), sequences, list(map(example_told, validation))]
            checkpoint = Checkpoint(self._folder, hashlib.sha256(json.dumps(told).encode()).hexdigest())
        with torch_threads(self._threads), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._network = build_network(len(self._numbers), **self._shape)
            value = (lambda: self._value(validation)) if validation else None

            def loss_of(batch: Sequence[Sequence[int]]) -> tuple[torch.Tensor, int]:
                targets = sum(len(piece) - 1 for piece in batch)
                return batch_loss(self._network, batch, len(self._numbers)), targets

            self.curve = train(self._network, pieces, loss_of, plan, value, checkpoint, self._on_epoch)

    def rank(self, example: RankingExample) -> list[float]:
        """Dot products of what comes next with the candidates' vectors. Raises `ConfigurationError` on an unknown item."""
        return self.rank_many([example])[0]

    def rank_many(self, examples: Sequence[RankingExample]) -> list[list[float]]:
        """`rank` of each, in batches."""
        if self._network is None:
            raise NotFittedError(self.name)
        with torch_threads(self._threads):
            return [
                scores
                for start in range(0, len(examples), _AT_ONCE)
                for scores in self._scores(examples[start : start + _AT_ONCE])
            ]

    def _scores(self, examples: Sequence[RankingExample]) -> list[list[float]]:
        import torch

        padding, longest = len(self._numbers), int(self._shape["max_length"])
        try:
            histories = [[self._numbers[item] for item in example.history][-longest:] for example in examples]
            candidates = [[self._numbers[item] for item in example.candidates] for example in examples]
        except KeyError as error:
            raise ConfigurationError(f"the item {error.args[0]} of an example is not among training's items") from None
        with torch.no_grad():
            states = hidden_states(self._network, left_padded(histories, padding), padding)[:, -1]
            vectors = item_vectors(self._network)
            # A product for each candidate, not a matrix product, whose last bits depend on the order of the candidates.
            return [
                (vectors[torch.tensor(row)] * state).sum(-1).tolist()
                for row, state in zip(candidates, states, strict=True)
            ]

    def _value(self, validation: Sequence[RankingExample]) -> float:
        starts = range(0, len(validation), _AT_ONCE)
        scores = [row for start in starts for row in self._scores(validation[start : start + _AT_ONCE])]
        return mean_ndcg(scores, validation)
