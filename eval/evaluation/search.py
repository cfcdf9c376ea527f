"""The searches that an evaluation's systems need: each done once, kept, and read by all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from webrec.eval.data.frozen import FrozenExamples
from webrec.eval.evaluation.config import EvalConfig, retrieval_of
from webrec.eval.retrieval.config import RetrievalConfig
from webrec.eval.retrieval.corpus import Corpus
from webrec.eval.retrieval.found import read_found, search_pieces, write_found
from webrec.eval.retrieval.retrieve import Retrieved, Retriever
from webrec.eval.systems.config import Readings

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
    return Readings(found, {} if corpus is None else corpus.pages_of())


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
    for sampling in frozen.samplings:
        examples = frozen.examples(config.part, sampling)
        pieces = search_pieces(data, retrieval.name, config.part, sampling, len(examples))
        for piece in pieces:
            if piece.path(folder).exists():
                continue
            told = {"event": "searching", "data": data, "retrieval": retrieval.name, "sampling": sampling}
            on_event({**told, "done": piece.begin, "of": len(examples)})
            write_found(folder, piece, retriever.retrieve(examples[piece.begin : piece.end]))
            if stop():
                raise KeyboardInterrupt
        found[config.part, sampling] = read_found(folder, pieces)
    return found
