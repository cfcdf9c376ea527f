"""A LLaMA fine-tuned on examples of the training part: LoRA or a soft prompt, with a message-passing head or without."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from webrec.errors import ConfigurationError
from webrec.eval.data.dataset import RankingExample, TrainingData
from webrec.eval.retrieval.page_source import PageSource
from webrec.eval.systems.kept_training import keep_training, kept_training, take_training
from webrec.eval.systems.language_model import LanguageModel
from webrec.eval.train_config import PromptConfig, TrainRunConfig
from webrec.models.config import BackboneConfig, LoraTuning, ScoreBy, Tuning
from webrec.models.mp_head.config import MPHeadConfig
from webrec.models.training.config import TrainingConfig


class TuneConfig(BaseModel):
    """What is fine-tuned, and how, as in a training run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tuning: Tuning = Field(default=LoraTuning(), description="What is fine-tuned: kind is lora or soft_prompt.")
    head: MPHeadConfig | None = Field(default=None, description="The message-passing head; unset trains without one.")
    training: TrainingConfig = Field(
        default=TrainingConfig(), description="How it is trained; its seed and score_by are those of the system."
    )
    candidates: int | None = Field(
        default=None,
        ge=2,
        description="Candidates of a training example, the target among them and the others drawn by a hash: fewer make training "
        "quicker. Unset takes all; validation always has all.",
    )
    validation_examples: int = Field(
        default=100, ge=1, description="Validation examples that choose the state of the adapter that is kept."
    )


class TunedLanguageModel(LanguageModel):
    """`LanguageModel` with an adapter that `fit` trains in `folder`, from where an earlier call was stopped.

    `tuning` and `validating`: the examples to train on and to choose by; the data set's `tuning_examples`. `on_event` hears what
    `webrec train` hears.
    """

    name = "tuned_llm"

    def __init__(
        self,
        backbone: BackboneConfig,
        prompt: PromptConfig,
        tune: TuneConfig,
        folder: Path,
        tuning: Sequence[RankingExample],
        validating: Sequence[RankingExample],
        score_by: ScoreBy = "mean",
        *,
        pages: PageSource | None = None,
        threads: int = 1,
        on_event: Callable[[dict[str, Any]], None] = lambda _: None,
    ) -> None:
        super().__init__(backbone, prompt, score_by, pages=pages, threads=threads)
        if not tuning:
            raise ConfigurationError(
                "tuning_examples: a system is fine-tuned and there are none; set it on the data set"
            )
        self._tune, self._folder, self._on_event = tune, folder, on_event
        self._tuning, self._validating = tuning, validating[: tune.validation_examples]
        self._plain = backbone

    def fit(self, training: TrainingData, seed: int, validation: Sequence[RankingExample] = ()) -> None:
        """Train, then load the adapter. `validation` is not looked at: the examples to choose by were given with their pages."""
        from webrec.eval.train_run import train_here
        from webrec.models.threads import torch_threads
        from webrec.models.training.loop import ADAPTER_FOLDER

        self._items = dict(training.items)
        self._folder.mkdir(parents=True, exist_ok=True)
        files = {}
        for name, examples, most in (
            ("train", self._tuning, self._tune.candidates),
            ("valid", self._validating, None),
        ):
            files[name] = self._folder / f"{name}.jsonl"
            rows = "".join(json.dumps(self._row(example, most)) + "\n" for example in examples)
            files[name].write_text(rows, encoding="utf-8")
        run = TrainRunConfig(
            **self._plain.model_dump(exclude={"adapter", "adapter_revision"}),
            train=files["train"],
            valid=files["valid"],
            output=self._folder / "run",
            prompt=self._prompt,
            tuning=self._tune.tuning,
            head=self._tune.head,
            training=self._tune.training.model_copy(update={"seed": seed, "score_by": self._score_by}),
        )
        kept = kept_training(run)
        if take_training(run, kept):
            self._on_event({"event": "trained_before"})
        with torch_threads(self._threads):
            train_here(run, on_event=self._on_event)
        keep_training(run, kept)
        self._config = self._plain.model_copy(update={"adapter": str(self._folder / "run" / ADAPTER_FOLDER)})
        super().fit(training, seed)

    def _row(self, example: RankingExample, most: int | None) -> dict[str, Any]:
        """The example as `webrec train` reads it, with at most `most` candidates."""
        return {
            "id": f"{example.sampling} {example.key}",
            "history": [self._items[item_id].title for item_id in example.history],
            "candidates": [self._items[item_id].title for item_id in some_candidates(example, most)],
            "target": self._items[example.target].title,
            "pages": [{"title": title, "text": text} for title, text in self._read(example)],
        }


def some_candidates(example: RankingExample, most: int | None) -> list[str]:
    """The target and `most` - 1 others, by a hash of key and item, in the example's order; all for None."""
    if most is None or most >= len(example.candidates):
        return list(example.candidates)

    def drawn(item_id: str) -> bytes:
        return hashlib.sha256(f"{example.key}\n{item_id}".encode()).digest()

    others = sorted((i for i in example.candidates if i != example.target), key=drawn)
    kept = {example.target, *others[: most - 1]}
    return [item_id for item_id in example.candidates if item_id in kept]
