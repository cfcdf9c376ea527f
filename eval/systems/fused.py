"""What the crowd took, and what other systems say, weighed by a choice model that is fitted on validation targets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from webrec.errors import ConfigurationError
from webrec.eval.data.dataset import Item, RankingExample, TrainingData
from webrec.eval.systems.system import NotFittedError
from webrec.eval.whole_text import write_whole_text
from webrec.tools.crowd.choice import ChoiceModel, fit_choice, with_ranks
from webrec.tools.crowd.features import COUNTED, DESCRIBED, TIMED, CrowdFeatures
from webrec.tools.crowd.pairs import Floats
from webrec.tools.crowd.records import ItemFacts, Records

Evidence = Literal["counts", "times", "items"]
EVIDENCE: dict[Evidence, Mapping[str, str]] = {
    "counts": COUNTED,
    "times": TIMED,
    "items": DESCRIBED,
}
WEIGHTS = "weights.json"


class Scores(Protocol):
    """What another system said of an example's candidates."""

    def of(self, system: str, example: RankingExample) -> Sequence[float]:
        """One score for each candidate, in their order."""


class Fused:
    """P(candidate) = softmax over the candidates of a weighted sum of evidence, one set of weights for each sampling.

    Evidence of the crowd is counted in the training part alone, for validation and test alike: it holds no target of either, and a
    validation item is at test time only part of the history. `inputs`: other systems, each by its score and its score's rank among
    the candidates; `scores` gives them. `fitting`: the validation examples
    whose targets fit the weights. Of those examples themselves scores come from weights that the other half of the users fitted, so
    that they can be compared, and be an input in their turn. `penalty`: that of `fit_choice`. `folder`: where the weights are written.
    """

    name = "fused"

    def __init__(
        self,
        fitting: Sequence[RankingExample],
        *,
        evidence: Sequence[Evidence] = tuple(EVIDENCE),
        inputs: Sequence[str] = (),
        scores: Scores | None = None,
        penalty: float = 1000.0,
        folder: Path | None = None,
    ) -> None:
        if not evidence and not inputs:
            raise ConfigurationError("evidence: a fused system needs some, or inputs; give one of them")
        if not fitting:
            raise ConfigurationError(
                "validation_users: a fused system is fitted on validation examples; there are none"
            )
        if inputs and scores is None:
            raise ConfigurationError("inputs: there are no scores of other systems here; leave them out")
        self._fitting, self._evidence, self._inputs = list(fitting), tuple(evidence), tuple(inputs)
        self._scores = scores
        self._penalty, self._folder = penalty, folder
        self._features: CrowdFeatures | None = None
        self._chosen: tuple[int, ...] = ()
        self._models: dict[tuple[str, int | None], ChoiceModel] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Of the evidence, in the order of the weights."""
        own = [] if self._features is None else [self._features.names[place] for place in self._chosen]
        return (*own, *(f"{name}{of}" for name in self._inputs for of in ("", ", rank")))

    def fit(self, training: TrainingData, seed: int, validation: Sequence[RankingExample] = ()) -> None:
        """Count, then weigh. `validation` is not looked at: the examples to fit on were given."""
        self._features, self._chosen, self._models = None, (), {}
        if self._evidence:
            self._features = CrowdFeatures(records_of(training))
            wanted = {name for kind in self._evidence for name in EVIDENCE[kind]}
            self._chosen = tuple(n for n, name in enumerate(self._features.names) if name in wanted)
        for sampling in dict.fromkeys(e.sampling for e in self._fitting):
            own = [e for e in self._fitting if e.sampling == sampling]
            table = np.stack([self._table(e) for e in own])
            targets = np.array([e.candidates.index(e.target) for e in own])
            halves = np.array([_half(e.user) for e in own])
            for half in (None, 0, 1):
                used = np.ones(len(own), bool) if half is None else halves == half
                if used.any():
                    model = fit_choice(self.names, table[used], targets[used], self._penalty)
                    self._models[sampling, half] = model
        self._keep()

    def rank(self, example: RankingExample) -> list[float]:
        """Log-odds in nats. Raises `ConfigurationError` for a sampling of which there was no example to fit on."""
        if not self._models:
            raise NotFittedError(self.name)
        half = 1 - _half(example.user) if example.part == "validation" else None
        if (model := self._models.get((example.sampling, half))) is None:
            raise ConfigurationError(
                f"samplings: {example.sampling} had no validation examples; raise validation_users"
            )
        return [float(score) for score in model.score(self._table(example))]

    def rank_many(self, examples: Sequence[RankingExample]) -> list[list[float]]:
        """`rank` of each."""
        return [self.rank(example) for example in examples]

    def _table(self, example: RankingExample) -> Floats:
        """(candidates, names)."""
        columns: list[Floats] = []
        if self._features is not None:
            found = self._features.of(example.history, example.candidates, example.time)
            columns += [found[:, place] for place in self._chosen]
        for name in self._inputs:
            assert self._scores is not None
            columns += with_ranks(np.array(self._scores.of(name, example), np.float64))
        return np.stack(columns, axis=1)

    def _keep(self) -> None:
        if self._folder is None:
            return
        told = {
            sampling: {
                name: {"weight": round(float(weight), 4), "scale": float(scale)}
                for name, weight, scale in zip(model.names, model.weights, model.scales, strict=True)
            }
            for (sampling, half), model in self._models.items()
            if half is None
        }
        write_whole_text(self._folder / WEIGHTS, json.dumps(told, indent=1) + "\n")


def records_of(training: TrainingData) -> Records:
    """What the crowd took, as counting reads it."""
    times = [training.times[user] for user in training.sequences] if training.times else []
    return Records(item_facts(training.items), list(training.sequences.values()), times)


def item_facts(items: Mapping[str, Item]) -> dict[str, ItemFacts]:
    """What counting reads of items."""
    return {i: ItemFacts(item.title, item.brand, item.categories, item.year) for i, item in items.items()}


def _half(user: str) -> int:
    return blake2b(user.encode(), digest_size=1).digest()[0] % 2
