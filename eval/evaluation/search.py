"""The searches that an evaluation's systems need: each done once, kept, and read by all of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from itertools import groupby
from pathlib import Path

from webrec.errors import ConfigurationError
from webrec.eval.code_digest import code_digest
from webrec.eval.data.dataset import RankingExample
from webrec.eval.data.frozen import FrozenExamples
from webrec.eval.evaluation.config import EvalConfig, retrieval_of
from webrec.eval.evaluation.plan import MIXED, Fit, examples_of, is_tuned, searches
from webrec.eval.evaluation.worker import Material
from webrec.eval.model_identity import backbone_identity, folder_identity
from webrec.eval.parquet import read_whole, write_whole
from webrec.eval.retrieval.config import RetrievalConfig
from webrec.eval.retrieval.corpus import Corpus
from webrec.eval.retrieval.found import SearchPiece, read_found
from webrec.eval.retrieval.page_source import PageSource
from webrec.eval.retrieval.retrieve import Retrieved
from webrec.eval.systems.build import Readings
from webrec.eval.systems.config import LanguageModelConfig, reads_about_items
from webrec.models.backbone import number_format
from webrec.nodes.prompt import User, taste_prompt

FOLDER = "found"
LAYOUT = 1
_LIBRARIES = ("torch", "transformers", "tantivy")


def kept_elsewhere(
    config: EvalConfig, material: Material, piece: SearchPiece, examples: Sequence[RankingExample], folder: Path
) -> Path | None:
    """Where any run of the same code keeps what was found for a piece with the same `examples`, under `folder`; None without a corpus.

    None as well where it is not known in which number format an actor will compute. The live web is another one tomorrow, and so is an
    external decoder; pages of a corpus stay.
    """
    (retrieval,) = (r for r in config.retrievals if r.name == piece.retrieval)
    if material.corpus is None or retrieval.decoder_url is not None:
        return None
    if (computed_in := _format(config, retrieval)) is None:
        return None
    items = material.frozen.items
    someone = User(("history",), ("candidate",))
    told = [
        LAYOUT,
        [code_digest(), [version(library) for library in _LIBRARIES], taste_prompt(someone)],
        {name: value for name, value in retrieval.counted().items() if name != "name"},
        [backbone_identity(retrieval), computed_in, folder_identity(retrieval.rerank_model)],
        material.corpus.digest,
        [asdict(e) | {"titles": [items[i].title for i in (*e.history, *e.candidates)]} for e in examples],
    ]
    digest = hashlib.sha256(json.dumps(told).encode()).hexdigest()
    return folder / digest[:2] / f"{digest}.parquet"


def _format(config: EvalConfig, retrieval: RetrievalConfig) -> str | None:
    """In which number format the backbone computes; None where an actor's machine decides."""
    if config.ray is None:
        return number_format(retrieval)
    if retrieval.dtype == "int8":
        return "int8 on cpu"  # nowhere else
    return None if "auto" in (retrieval.dtype, retrieval.device) else f"{retrieval.dtype} on {retrieval.device}"


def take_kept(kept: Path | None, piece: SearchPiece, folder: Path) -> bool:
    """Copy what another run found to this run's `folder`; whether there was something to copy."""
    if kept is None or not kept.exists():
        return False
    try:
        table = read_whole(kept, piece.end - piece.begin)
    except ConfigurationError:
        return False  # damaged: it is found again
    write_whole(piece.path(folder), table)
    return True


def readings_of(config: EvalConfig, data: str, frozen: FrozenExamples, corpus: Corpus | None, folder: Path) -> Readings:
    """All that the systems read of one data set, once everything is there. Raises `ConfigurationError` for a damaged file."""
    found: dict[str, dict[tuple[str, str], dict[str, Retrieved]]] = {}
    for (retrieval, part, sampling), pieces in groupby(
        searches(config, {data: frozen}), key=lambda piece: (piece.retrieval, piece.part, piece.sampling)
    ):
        by_key = read_found(folder, pieces)
        for example in examples_of(config, frozen, part, sampling):
            cell = found.setdefault(retrieval, {}).setdefault((example.part, example.sampling), {})
            cell[example.key] = by_key[example.key]
    tuned = any(is_tuned(system) for system in config.systems)
    tuning, validating = (
        (examples_of(config, frozen, part, MIXED) for part in ("tuning", "validation")) if tuned else ([], [])
    )
    fused = any(system.kind == "fused" for system in config.systems)
    fitting = [e for s in frozen.samplings for e in frozen.examples("validation", s)] if fused else []
    texts = corpus.texts_of() if corpus and any(map(reads_about_items, config.systems)) else {}
    return Readings(found, {} if corpus is None else corpus.pages_of(), texts, tuning, validating, fitting)


def targets_found(
    config: EvalConfig,
    fits: Sequence[Fit],
    frozen: Mapping[str, FrozenExamples],
    readings: Mapping[str, Readings],
    corpora: Mapping[str, Corpus],
) -> dict[tuple[str, str], dict[tuple[str, str], dict[str, bool]]]:
    """Whether a page about the target was among those that a system reads: by data set and system, (part, sampling) and key.

    Where a corpus says so; of a placebo the pages that it reads in place of its own, with the first seed.
    """
    told: dict[tuple[str, str], dict[tuple[str, str], dict[str, bool]]] = {}
    for fit in fits:
        name, retrieval = fit.pieces[0].system, retrieval_of(fit.system)
        if retrieval is None or (corpus := corpora.get(fit.data)) is None or (fit.data, name) in told:
            continue
        most, placebo = None, None
        if isinstance(fit.system, LanguageModelConfig):
            most, placebo = fit.system.prompt.pages, fit.system.placebo
        if placebo == "swapped":
            continue  # its pages have one's own titles and another one's texts: about whom?
        source = PageSource(readings[fit.data].found[retrieval], placebo, fit.seed)
        told[fit.data, name] = {
            (config.part, sampling): {
                e.key: any(e.target in corpus.about.get(page.url, ()) for page in source.of(e).pages[:most])
                for e in frozen[fit.data].examples(config.part, sampling)
            }
            for sampling in frozen[fit.data].samplings
        }
    return told
