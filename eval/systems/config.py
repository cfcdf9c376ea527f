"""The systems that a configuration can name, and their settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from webrec.eval.systems.co_occurrence import CoOccurrence
from webrec.eval.systems.counting import InversePopularity, Popularity, Random
from webrec.eval.systems.item_knn import ItemKNN
from webrec.eval.systems.language_model import LanguageModel
from webrec.eval.systems.sasrec import SASRec
from webrec.eval.systems.system import System
from webrec.eval.train_config import PromptConfig
from webrec.models.config import BackboneConfig


class SystemConfig(BaseModel):
    """What every entry has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$",
        description="Name in tables and files: letters, digits, dots, dashes; unset takes the kind.",
    )


class RandomConfig(SystemConfig):
    """Chance."""

    kind: Literal["random"] = Field(default="random", description="A number by hash.")


class PopularityConfig(SystemConfig):
    """How often an item was taken in training."""

    kind: Literal["popularity"] = Field(default="popularity", description="The most taken first.")


class InversePopularityConfig(SystemConfig):
    """A check of the candidates."""

    kind: Literal["inverse_popularity"] = Field(default="inverse_popularity", description="The least taken first.")


class ItemKNNConfig(SystemConfig):
    """Item to item by common users."""

    kind: Literal["item_knn"] = Field(default="item_knn", description="Cosine between items' users.")


class CoOccurrenceConfig(SystemConfig):
    """Item to item by nearness in sequences."""

    kind: Literal["co_occurrence"] = Field(default="co_occurrence", description="How often items stand close together.")
    steps: int = Field(default=5, ge=1, le=1000, description="How far apart two items of a pair may be.")
    popularity_breaks_ties: bool = Field(
        default=True, description="Among candidates with the same count the more popular first; else they stay tied."
    )


class SASRecConfig(SystemConfig):
    """Self-attention over the sequence of items (extra: sasrec)."""

    kind: Literal["sasrec"] = Field(default="sasrec", description="SASRec with cross-entropy over all items.")
    width: int = Field(default=50, ge=1, le=4096, description="Width of the item embeddings.")
    blocks: int = Field(default=2, ge=1, le=64, description="Attention blocks.")
    heads: int = Field(default=1, ge=1, le=64, description="Attention heads of a block.")
    max_length: int = Field(default=50, ge=1, le=1000, description="Last items of a sequence that are read.")
    dropout: float = Field(default=0.5, ge=0, lt=1, description="Share of activations dropped in training.")
    epochs: int = Field(default=200, ge=1, le=10_000, description="Passes over the training set at most.")
    patience: int = Field(default=10, ge=1, description="Epochs without a better validation NDCG@10 before it stops.")
    batch: int = Field(default=128, ge=1, description="Sequences a step.")
    learning_rate: float = Field(default=1e-3, gt=0, description="Adam's learning rate.")


class LanguageModelConfig(SystemConfig, BackboneConfig):
    """A LLaMA that is asked with the titles alone."""

    kind: Literal["llm"] = Field(default="llm", description="The backbone, or an adapter of it, without pages.")
    prompt: PromptConfig = Field(
        default=PromptConfig(pages=0), description="How the prompt is made, as in a training run."
    )
    score_by: Literal["mean", "sum"] = Field(
        default="mean",
        description="What ranks a candidate: the mean log-likelihood of its tokens, or their sum.",
    )


AnySystem = Annotated[
    RandomConfig
    | PopularityConfig
    | InversePopularityConfig
    | ItemKNNConfig
    | CoOccurrenceConfig
    | SASRecConfig
    | LanguageModelConfig,
    Field(discriminator="kind"),
]
_PLAIN: dict[str, Callable[[], System]] = {
    "random": Random,
    "popularity": Popularity,
    "inverse_popularity": InversePopularity,
    "item_knn": ItemKNN,
}
SMALL_PIECES = {"llm": 16}
"""Examples asked together, for kinds that take long for each: what a killed run loses, at most."""
LEARNED = frozenset({"random", "sasrec"})
"""Kinds whose scores depend on the training seed."""


def build_system(config: AnySystem, folder: Path, threads: int) -> System:
    """The system of an entry, not yet fitted. `folder`: where it may keep a training that can be resumed."""
    settings = config.model_dump(exclude={"kind", "name"})
    if config.kind == "co_occurrence":
        return CoOccurrence(**settings)
    if config.kind == "sasrec":
        return SASRec(**settings, threads=threads, folder=folder)
    if config.kind == "llm":
        backbone = BackboneConfig(**{name: settings[name] for name in BackboneConfig.model_fields})
        return LanguageModel(backbone, config.prompt, config.score_by, threads=threads)
    return _PLAIN[config.kind]()
