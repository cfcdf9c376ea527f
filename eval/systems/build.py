"""Making the systems that a configuration names, from what there is to read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from webrec.eval.data.dataset import RankingExample
from webrec.eval.retrieval.page_source import PageSource
from webrec.eval.retrieval.retrieve import Retrieved
from webrec.eval.systems.co_occurrence import CoOccurrence
from webrec.eval.systems.config import (
    AnySystem,
    CoOccurrenceConfig,
    CountingConfig,
    InversePopularityConfig,
    ItemKNNConfig,
    LearnedSimilarityConfig,
    PageCountConfig,
    PageExistsConfig,
    PageSimilarityConfig,
    TitleInPagesConfig,
    TitleSimilarityConfig,
)
from webrec.eval.systems.counting import IdOrder, InversePopularity, Popularity, Random
from webrec.eval.systems.epoch_checkpoint import Epoch
from webrec.eval.systems.fused import Fused, Scores
from webrec.eval.systems.item_knn import ItemKNN
from webrec.eval.systems.language_model import LanguageModel
from webrec.eval.systems.learned_similarity import LearnedSimilaritySystem
from webrec.eval.systems.own import OwnSystem
from webrec.eval.systems.page_counting import PageCount, TitleInPages
from webrec.eval.systems.sasrec import SASRec
from webrec.eval.systems.system import System
from webrec.eval.systems.text_similarity import TextSimilarity
from webrec.eval.systems.ties import TiesByHash
from webrec.eval.systems.tuned_language_model import TunedLanguageModel
from webrec.models.config import BackboneConfig

OnEvent = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Readings:
    """What there is to read for one data set.

    `found`: by retrieval, (part, sampling) and key. `pages_of`: pages about each item; `texts_of`: the beginning of its first. `tuning`, `validating`: the examples that
    a system is fine-tuned on, and chosen by. `fitting`: those that a fused system is fitted on.
    """

    found: Mapping[str, Mapping[tuple[str, str], Mapping[str, Retrieved]]] = field(default_factory=dict)
    pages_of: Mapping[str, int] = field(default_factory=dict)
    texts_of: Mapping[str, str] = field(default_factory=dict)
    tuning: Sequence[RankingExample] = ()
    validating: Sequence[RankingExample] = ()
    fitting: Sequence[RankingExample] = ()

    def digest(self) -> str:
        """Of the pages that were found: what else there is follows from settings and data."""
        told = [
            [retrieval, *cell, key, [[page.title, page.text] for page in found.pages]]
            for retrieval, cells in sorted(self.found.items())
            for cell, by_key in sorted(cells.items())
            for key, found in sorted(by_key.items())
        ]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def build_system(
    config: AnySystem,
    folder: Path,
    threads: int,
    readings: Readings,
    seed: int,
    on_event: OnEvent,
    scores: Scores | None = None,
) -> System:
    """The system of an entry, not yet fitted. `folder`: where it may keep a training that can be resumed.

    `scores`: what the systems before it said, for one that is fused of them.

    `on_event` hears of a training what `webrec train` hears.
    """
    if isinstance(config, CountingConfig):
        counting = _counting(config, readings, threads)
        return TiesByHash(counting) if config.ties == "hash" else counting
    settings = config.model_dump(exclude={"kind", "name", "history"})

    def on_epoch(epoch: Epoch) -> None:
        on_event({"event": "epoch", **asdict(epoch)})

    if config.kind == "sasrec":
        return SASRec(**settings, threads=threads, folder=folder, on_epoch=on_epoch)
    if isinstance(config, LearnedSimilarityConfig):
        texts = readings.texts_of if settings.pop("reads") == "pages" else None
        return LearnedSimilaritySystem(texts, **settings, threads=threads, folder=folder, on_epoch=on_epoch)
    if config.kind == "own":
        return OwnSystem(config.name or config.kind, config.at, config.settings)
    if config.kind == "fused":
        return Fused(readings.fitting, **settings, scores=scores, folder=folder)
    if config.kind == "llm":
        backbone = BackboneConfig(**{name: settings[name] for name in BackboneConfig.model_fields})
        pages = None
        if config.retrieval is not None:
            pages = PageSource(readings.found[config.retrieval], config.placebo, seed)
        if config.tune is None:
            return LanguageModel(backbone, config.prompt, config.score_by, pages=pages, threads=threads)
        return TunedLanguageModel(
            backbone,
            config.prompt,
            config.tune,
            folder,
            readings.tuning,
            readings.validating,
            config.score_by,
            pages=pages,
            threads=threads,
            on_event=on_event,
        )
    return IdOrder() if config.kind == "id_order" else Random()


def _counting(config: CountingConfig, readings: Readings, threads: int) -> System:
    if isinstance(config, TitleSimilarityConfig | PageSimilarityConfig):
        texts = readings.texts_of if isinstance(config, PageSimilarityConfig) else None
        return TextSimilarity(texts, config.by, config.model, threads)
    if isinstance(config, CoOccurrenceConfig):
        return CoOccurrence(config.steps, config.popularity_breaks_ties)
    if isinstance(config, TitleInPagesConfig):
        return TitleInPages(PageSource(readings.found[config.retrieval]))
    if isinstance(config, PageExistsConfig | PageCountConfig):
        return PageCount(readings.pages_of, exists=config.kind == "page_exists")
    if isinstance(config, ItemKNNConfig):
        return ItemKNN()
    return InversePopularity() if isinstance(config, InversePopularityConfig) else Popularity()
