"""The searches that an evaluation's systems need: each done once, kept, and read by all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from webrec.eval.data.dataset import RankingExample
from webrec.eval.data.frozen import FrozenExamples
from webrec.eval.evaluation.config import EvalConfig, retrieval_of
from webrec.eval.retrieval.config import RetrievalConfig
from webrec.eval.retrieval.corpus import Corpus
from webrec.eval.retrieval.found import read_found, search_pieces, write_found
from webrec.eval.retrieval.retrieve import Retrieved, Retriever
from webrec.eval.systems.config import LanguageModelConfig, Readings

OnEvent = Callable[[dict[str, Any]], None]
FOLDER = "found"


def read_for(
    config: EvalConfig,
    data: str,
    frozen: FrozenExamples,
    corpus: Corpus | None,
    on_event: OnEvent,
    stop: Callable[[], bool],
) -> Readings:
    """All that the systems read of one data set; what was not found before is searched for now.

    Once `stop()` is true, `KeyboardInterrupt` is raised after the piece under way. Raises `SearchError` if a search failed for good:
    nothing is lost, and the same command goes on there.
    """
    wanted = {retrieval_of(system) for system in config.systems}
    found = {
        retrieval.name: _search(config, retrieval, data, frozen, corpus, on_event, stop)
        for retrieval in config.retrievals
        if retrieval.name in wanted
    }
    tuned = any(isinstance(system, LanguageModelConfig) and system.tune for system in config.systems)
    tuning, validating = _mixed(config, frozen) if tuned else ([], [])
    return Readings(found, {} if corpus is None else corpus.pages_of(), tuning, validating)


def _mixed(config: EvalConfig, frozen: FrozenExamples) -> tuple[list[RankingExample], list[RankingExample]]:
    """What systems are fine-tuned on, and as many validation examples as the one that looks at most of them."""
    most = max(s.tune.validation_examples for s in config.systems if isinstance(s, LanguageModelConfig) and s.tune)
    return frozen.mixed("tuning"), frozen.mixed("validation")[:most]


def _search(
    config: EvalConfig,
    retrieval: RetrievalConfig,
    data: str,
    frozen: FrozenExamples,
    corpus: Corpus | None,
    on_event: OnEvent,
    stop: Callable[[], bool],
) -> dict[tuple[str, str], dict[str, Retrieved]]:
    folder: Path = config.output / FOLDER
    retriever = Retriever(retrieval, frozen.items, corpus, threads=config.threads)
    found: dict[tuple[str, str], dict[str, Retrieved]] = {}
    sets: list[tuple[str, str, list[RankingExample]]] = [
        (config.part, sampling, frozen.examples(config.part, sampling)) for sampling in frozen.samplings
    ]
    if any(isinstance(s, LanguageModelConfig) and s.tune and s.retrieval == retrieval.name for s in config.systems):
        tuning, validating = _mixed(config, frozen)
        sets += [("tuning", "mixed", tuning), ("validation", "mixed", validating)]
    for part, sampling, examples in sets:
        pieces = search_pieces(data, retrieval.name, part, sampling, len(examples))
        for piece in pieces:
            if piece.path(folder).exists():
                continue
            told = {"event": "searching", "data": data, "retrieval": retrieval.name, "part": part, "sampling": sampling}
            on_event({**told, "done": piece.begin, "of": len(examples)})
            write_found(folder, piece, retriever.retrieve(examples[piece.begin : piece.end]))
            if stop():
                raise KeyboardInterrupt
        by_key = read_found(folder, pieces)
        for example in examples:
            found.setdefault((example.part, example.sampling), {})[example.key] = by_key[example.key]
    return found


def targets_found(
    config: EvalConfig,
    frozen: Mapping[str, FrozenExamples],
    readings: Mapping[str, Readings],
    corpora: Mapping[str, Corpus],
) -> dict[tuple[str, str], dict[tuple[str, str], dict[str, bool]]]:
    """Whether a page about the target was found: by data set and retrieval, (part, sampling) and key, where a corpus says so."""
    told: dict[tuple[str, str], dict[tuple[str, str], dict[str, bool]]] = {}
    for data, corpus in corpora.items():
        for retrieval, found in readings[data].found.items():
            told[data, retrieval] = {
                (config.part, sampling): {
                    e.key: any(
                        corpus.about.get(page.url) == e.target for page in found[config.part, sampling][e.key].pages
                    )
                    for e in frozen[data].examples(config.part, sampling)
                }
                for sampling in frozen[data].samplings
            }
    return told
