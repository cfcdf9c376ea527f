"""The systems that a configuration can name, and their settings."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from webrec.eval.retrieval.page_source import Placebo
from webrec.eval.systems.fused import EVIDENCE, Evidence
from webrec.eval.systems.tuned_language_model import TuneConfig
from webrec.eval.train_config import PromptConfig
from webrec.models.config import BackboneConfig, ScoreBy
from webrec.models.sentence_encoder import MINILM


class SystemConfig(BaseModel):
    """What every entry has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    history: Literal["own", "other"] = Field(
        default="own",
        description="other: asked about the user's candidates with another user's history, a placebo: what is left is what it knows of items. Not for kinds that read no history, fused, or an llm with a retrieval.",
    )

    name: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$",
        description="Name in tables and files: letters, digits, dots, dashes; unset takes the kind.",
    )

    @model_validator(mode="after")
    def _of_a_history(self) -> Self:
        kind = getattr(self, "kind", "")
        if self.history == "other" and kind in _READ_NO_HISTORY:
            raise ValueError(f"history: {kind} reads none, so another user's is no placebo; leave it out")
        return self


_READ_NO_HISTORY = frozenset(
    {"random", "popularity", "inverse_popularity", "page_exists", "page_count", "title_in_pages"}
)


class RandomConfig(SystemConfig):
    """Chance."""

    kind: Literal["random"] = Field(default="random", description="A number by hash.")


class CountingConfig(SystemConfig):
    """What counts, and so gives many candidates the same score."""

    ties: Literal["hash", "against"] = Field(
        default="hash", description="hash: equal scores in an order by hash; against: the target last among its equals."
    )


class PopularityConfig(CountingConfig):
    """How often an item was taken in training."""

    kind: Literal["popularity"] = Field(default="popularity", description="The most taken first.")


class InversePopularityConfig(CountingConfig):
    """A check of the candidates."""

    kind: Literal["inverse_popularity"] = Field(default="inverse_popularity", description="The least taken first.")


class IdOrderConfig(SystemConfig):
    """A check of the order of what was taken."""

    kind: Literal["id_order"] = Field(
        default="id_order", description="The ids next above that of the history's last item first."
    )


class ItemKNNConfig(CountingConfig):
    """Item to item by common users."""

    kind: Literal["item_knn"] = Field(default="item_knn", description="Cosine between items' users.")


class CoOccurrenceConfig(CountingConfig):
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
    max_length: int = Field(
        default=50,
        ge=1,
        le=1000,
        description="Last items of a sequence that are read; when it is asked, no more than the data's history_items.",
    )
    dropout: float = Field(default=0.5, ge=0, lt=1, description="Share of activations dropped in training.")
    epochs: int = Field(default=200, ge=1, le=10_000, description="Passes over the training set at most.")
    patience: int = Field(default=10, ge=1, description="Epochs without a better validation NDCG@10 before it stops.")
    batch: int = Field(default=128, ge=1, description="Sequences a step.")
    learning_rate: float = Field(default=1e-3, gt=0, description="Adam's learning rate.")

    @model_validator(mode="after")
    def _whole_heads(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width: it is {self.width}, no multiple of {self.heads} heads; change one of the two")
        return self


class PageExistsConfig(CountingConfig):
    """Whether the corpus has a page about a candidate."""

    kind: Literal["page_exists"] = Field(default="page_exists", description="Those with a page first.")


class PageCountConfig(CountingConfig):
    """How many pages of the corpus are about a candidate."""

    kind: Literal["page_count"] = Field(default="page_count", description="Those with most pages first.")


class TitleInPagesConfig(CountingConfig):
    """How many of the pages found hold a candidate's title."""

    kind: Literal["title_in_pages"] = Field(default="title_in_pages", description="Those named most first.")
    retrieval: str = Field(description="Name of the retrieval whose pages it looks at.")


class TitleSimilarityConfig(CountingConfig):
    """How alike titles are in meaning."""

    kind: Literal["title_similarity"] = Field(
        default="title_similarity",
        description="Cosine of sentence embeddings of the candidate's and the history's titles.",
    )
    by: Literal["mean", "most"] = Field(default="mean", description="The mean over the history, or the most alike.")
    model: str = Field(
        default=MINILM, description="minilm, or a folder or hub id in the layout of sentence-transformers."
    )


class PageSimilarityConfig(CountingConfig):
    """How alike are what the corpus says of items."""

    kind: Literal["page_similarity"] = Field(
        default="page_similarity", description="The same of titles with the first page about each, if there is one."
    )
    by: Literal["mean", "most"] = Field(default="mean", description="The mean over the history, or the most alike.")
    model: str = Field(
        default=MINILM, description="minilm, or a folder or hub id in the layout of sentence-transformers."
    )


class LearnedSimilarityConfig(SystemConfig):
    """How alike items are, learned from what followed what (docs/crowd.md)."""

    kind: Literal["learned_similarity"] = Field(
        default="learned_similarity", description="Sentence embeddings, mapped so that what follows what is alike."
    )
    reads: Literal["titles", "pages"] = Field(
        default="titles", description="titles, or pages: titles with the first page about each, if there is one."
    )
    model: str = Field(
        default=MINILM, description="minilm, or a folder or hub id in the layout of sentence-transformers."
    )
    offsets: bool = Field(
        default=True,
        description="Whether an item has something of its own beside its text, for what is not written there.",
    )
    max_length: int = Field(default=10, ge=1, le=1000, description="Last items of a history that are read.")
    negatives: int = Field(
        default=512, ge=1, le=100_000, description="Other items, drawn evenly, that each step tells the targets from."
    )
    dropout: float = Field(default=0.2, ge=0, lt=1, description="Share of a history left out in training.")
    epochs: int = Field(default=30, ge=1, le=10_000, description="Passes over the training set at most.")
    patience: int = Field(default=3, ge=1, description="Epochs without a better validation NDCG@10 before it stops.")
    batch: int = Field(default=256, ge=1, description="Targets a step.")
    learning_rate: float = Field(default=1e-3, gt=0, description="Adam's learning rate.")


class LanguageModelConfig(SystemConfig, BackboneConfig):
    """A LLaMA that is asked with titles, and with pages if it has a retrieval."""

    kind: Literal["llm"] = Field(default="llm", description="The backbone, or an adapter of it.")
    retrieval: str | None = Field(
        default=None, description="Name of the retrieval whose pages it reads; unset reads none."
    )
    placebo: Placebo | None = Field(
        default=None,
        description="shuffled: the pages of another example; swapped: own titles, texts of another example's pages.",
    )
    prompt: PromptConfig = Field(default=PromptConfig(), description="How the prompt is made, as in a training run.")
    tune: TuneConfig | None = Field(
        default=None, description="How it is fine-tuned on the data set's tuning examples; unset leaves it as it is."
    )
    score_by: ScoreBy = "mean"

    @model_validator(mode="after")
    def _of_one_piece(self) -> Self:
        if self.history == "other" and self.retrieval is not None:
            raise ValueError(
                "history: it is other, and the pages are the user's own; leave retrieval out, or take placebo"
            )
        training = None if self.tune is None else self.tune.training
        if training is not None and "score_by" in training.model_fields_set and training.score_by != self.score_by:
            raise ValueError(
                f"tune.training.score_by: it is {training.score_by}, and the system's score_by {self.score_by}; set score_by "
                "beside tune, which training follows"
            )
        return self


class OwnConfig(SystemConfig):
    """A class of one's own (docs/evaluate.md, "A system of your own")."""

    kind: Literal["own"] = Field(default="own", description="A class with fit and rank, from a file or a package.")
    at: str = Field(
        pattern=r"^.+:[A-Za-z_]\w*$",
        description="file.py:Class, the file relative to the configuration's folder, or package.module:Class.",
    )
    settings: dict[str, Any] = Field(default={}, description="What its constructor takes, by name.")
    seeded: bool = Field(
        default=False, description="Whether it depends on the training seed: then it learns with each."
    )


class FusedConfig(SystemConfig):
    """Evidence of the crowd and other systems' scores, weighed by a conditional logit (docs/crowd.md)."""

    kind: Literal["fused"] = Field(default="fused", description="Weights fitted on validation targets, then frozen.")
    evidence: tuple[Evidence, ...] = Field(
        default=tuple(EVIDENCE),
        description="What is counted in the training part: counts, times, items (titles, brands, categories, years).",
    )
    inputs: tuple[str, ...] = Field(
        default=(), description="Names of systems listed before it whose scores are evidence as well."
    )
    penalty: float = Field(
        default=1000.0,
        gt=0,
        description="L2 penalty on the weights of standardised features, against a log-likelihood that is summed over users and draws: lower it where there are few.",
    )

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.evidence and not self.inputs:
            raise ValueError("evidence: a fused system needs some, or inputs; give one of them")
        if self.history == "other":
            raise ValueError(
                "history: a fused system has its inputs' histories; list inputs with history other instead"
            )
        return self


AnySystem = Annotated[
    RandomConfig
    | PopularityConfig
    | InversePopularityConfig
    | IdOrderConfig
    | ItemKNNConfig
    | CoOccurrenceConfig
    | SASRecConfig
    | PageExistsConfig
    | PageCountConfig
    | TitleInPagesConfig
    | TitleSimilarityConfig
    | PageSimilarityConfig
    | LearnedSimilarityConfig
    | LanguageModelConfig
    | OwnConfig
    | FusedConfig,
    Field(discriminator="kind"),
]
SMALL_PIECES = {"llm": 16}
"""Examples asked together, for kinds that take long for each: what a killed run loses, at most."""


def is_learned(system: AnySystem) -> bool:
    """Whether its scores depend on the training seed."""
    if isinstance(system, LanguageModelConfig):
        return bool(system.tune or system.placebo)
    return system.kind in {"random", "sasrec", "learned_similarity"} or (system.kind == "own" and system.seeded)


def reads_about_items(system: AnySystem) -> bool:
    """Whether it reads what the corpus says of items."""
    if isinstance(system, LearnedSimilarityConfig):
        return system.reads == "pages"
    return system.kind == "page_similarity"


def needs_corpus(system: AnySystem) -> bool:
    """Whether it looks at the pages of the data set's corpus itself, without a search."""
    return reads_about_items(system) or system.kind in {"page_exists", "page_count"}
