"""Running an evaluation, from where it was stopped if it was: what was found or answered before is not asked again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from webrec.cache_folder import cache_root
from webrec.errors import ConfigurationError, InputError
from webrec.eval.data.build import frozen_examples
from webrec.eval.data.config import DataConfig
from webrec.eval.data.dataset import Item
from webrec.eval.data.frozen import FrozenExamples
from webrec.eval.evaluation.config import EvalConfig, data_name, system_name
from webrec.eval.evaluation.input_scores import InputScores
from webrec.eval.evaluation.looked_at import look, write_looked_at
from webrec.eval.evaluation.plan import Fit, plan, searches, searches_of
from webrec.eval.evaluation.rows import RowStore
from webrec.eval.evaluation.search import FOLDER, kept_elsewhere, readings_of, take_kept, targets_found
from webrec.eval.evaluation.summary import Summary, summarise, write_summary
from webrec.eval.evaluation.taking import take_over
from webrec.eval.evaluation.worker import Material, OnEvent, PlainLoop, Worker, Workers, fit_folder
from webrec.eval.model_identity import adapter_identity, backbone_identity, folder_identity, pages_identity
from webrec.eval.parquet import write_whole
from webrec.eval.retrieval.corpus import Corpus, build_corpus
from webrec.eval.retrieval.found import found_table
from webrec.eval.run_folder import RunFolder
from webrec.eval.systems.build import Readings
from webrec.eval.systems.config import LearnedSimilarityConfig, PageSimilarityConfig, TitleSimilarityConfig
from webrec.eval.systems.fused import WEIGHTS
from webrec.eval.systems.own import own_identity
from webrec.models.config import BackboneConfig

SYSTEMS = "systems"
Stop = Callable[[], bool]


def evaluate(config: EvalConfig, *, on_event: OnEvent = lambda _: None, stop: Stop = lambda: False) -> Summary:
    """Run `config`, from where it was stopped if it was; on Ray if its settings say so.

    `on_event` hears `{event, …}`: data, left_out, shuffled, planned, searching, fitting, answered, summarising. Once `stop()` is true,
    `KeyboardInterrupt` is raised after the piece under way. Raises `InputError` and its kin for wrong data or settings,
    before anything is asked, and `SearchError` if a search failed for good: nothing is lost, and the same command goes on there.
    """
    # Each data set is frozen first: the run is refused at once where one is wrong, and its digests are part of what it is.
    frozen = {data_name(data): _frozen(config, data, on_event) for data in config.data}
    for name, examples in frozen.items():
        untitled = examples.manifest["filtered"]["untitled_items"]
        left_out = {**({"items without a title": untitled} if untitled else {}), **examples.manifest["left_out"]}
        if left_out:
            on_event({"event": "left_out", "data": name, "counts": left_out})
        if tied := examples.manifest["shuffled_for_equal_times"]:
            on_event({"event": "shuffled", "data": name, "count": tied})
    for name, examples in frozen.items():
        if not examples.count(config.part):
            raise InputError(
                f"part: {name} has no {config.part} examples; ask another part, or give users with more items"
            )
    corpora = {name: _corpus(config, name, frozen[name].items) for name in config.corpora}
    for retrieval in config.retrievals:
        if retrieval.not_by_user and (unsigned := [name for name, corpus in corpora.items() if not corpus.signed]):
            raise ConfigurationError(
                f"retrievals: {retrieval.name} has not_by_user, and no page of {unsigned[0]} says who wrote it; "
                "name the field in author_field of the corpus' pages, or turn it off"
            )
    materials = {name: Material(examples, corpora.get(name)) for name, examples in frozen.items()}
    told = description(config, frozen, corpora)
    with RunFolder(config.output, told, "an evaluation") as folder:
        store, fits = RowStore(config.output / "rows"), plan(config, frozen)
        pieces = [piece for fit in fits for piece in (*fit.fitting, *fit.pieces)]
        if config.take_from is not None and not all(store.has(piece) for piece in pieces):
            taken = take_over(
                config.take_from,
                told["fingerprint"],
                fits,
                lambda fit: searches_of(config, fit.data, frozen[fit.data], fit.system),
                config.output,
            )
            folder.took_over(config.take_from, taken)
        done = sum(piece.end - piece.begin for piece in pieces if store.has(piece))
        on_event({"event": "planned", "rows": sum(p.end - p.begin for p in pieces), "done": done})
        readings: dict[str, Readings] = {}

        def hear(event: dict[str, Any]) -> None:
            if event["event"] == "computes":
                folder.computes(event["name"], event["format"])
            else:
                on_event(event)

        def scores(data: str, seed: int) -> InputScores:
            own = [fit for fit in fits if fit.data == data]
            return InputScores(store, own, frozen[data], config.part, seed)

        worker = Worker(config, materials, readings, config.output / SYSTEMS, hear, scores)
        with _workers(config, materials, readings, PlainLoop(worker), hear, stop) as workers:
            named = [list(pair) for pair in config.comparisons]
            folder.started({"threads": config.threads, "rows": done, "comparisons": named, **workers.machines()})
            _search(config, materials, workers, hear, stop)
            for name, examples in frozen.items():
                corpus = corpora.get(name)
                readings[name] = readings_of(config, name, examples, corpus, config.output / FOLDER)
            _answer(config, materials, fits, store, workers, hear, stop)
        on_event({"event": "summarising"})
        found = targets_found(config, fits, frozen, readings, corpora)
        summary = summarise(config, _planned(config, folder.starts()), frozen, fits, store, found, corpora)
        summary = with_weights(summary, fits, config.output / SYSTEMS)
        write_looked_at(config.output, look(config, frozen, fits, store, readings, summary))
        write_summary(config.output, summary)
        return summary


@contextmanager
def _workers(
    config: EvalConfig,
    materials: Mapping[str, Material],
    readings: Mapping[str, Readings],
    own: Workers,
    on_event: OnEvent,
    stop: Stop,
) -> Iterator[Workers]:
    if config.ray is None:
        yield own
        return
    from webrec.eval.evaluation.on_ray import ray_workers

    with ray_workers(config, materials, readings, own, on_event, stop) as workers:
        yield workers


def _search(
    config: EvalConfig, materials: Mapping[str, Material], workers: Workers, on_event: OnEvent, stop: Stop
) -> None:
    """See to it that everything is found; what another run found of the same pages is taken from there."""
    folder, shared = config.output / FOLDER, cache_root() / FOLDER
    reader = Worker(config, materials, {}, config.output / SYSTEMS)  # for examples alone
    todo = {}
    for piece in searches(config, {name: material.frozen for name, material in materials.items()}):
        if not piece.path(folder).exists():
            examples = reader.examples(piece.data, piece.part, piece.sampling, piece.begin, piece.end)
            kept = kept_elsewhere(config, materials[piece.data], piece, examples, shared)
            if not take_kept(kept, piece, folder):
                todo[piece] = kept
    if todo:
        on_event({"event": "searching", "done": 0, "of": sum(p.end - p.begin for p in todo)})
    for piece, found in workers.search(list(todo)):
        table = found_table(found)
        if (kept := todo[piece]) is not None:
            write_whole(kept, table)
        write_whole(piece.path(folder), table)
        on_event({"event": "searched", "data": piece.data, "retrieval": piece.retrieval, "examples": len(found)})
        if stop():
            raise KeyboardInterrupt


def _answer(
    config: EvalConfig,
    materials: Mapping[str, Material],
    fits: list[Fit],
    store: RowStore,
    workers: Workers,
    on_event: OnEvent,
    stop: Stop,
) -> None:
    todo = [piece for fit in fits for piece in (*fit.fitting, *fit.pieces) if not store.has(piece)]
    reader = Worker(config, materials, {}, config.output / SYSTEMS)  # for examples alone
    for piece, given in workers.answer(fits, todo):
        part = "validation" if piece.fitting else config.part
        examples = reader.examples(piece.data, part, piece.sampling, piece.begin, piece.end)
        store.write(piece, examples, given)
        on_event({"event": "answered", "data": piece.data, "system": piece.system, "rows": len(given)})
        if stop():
            raise KeyboardInterrupt


def _planned(config: EvalConfig, starts: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """The comparisons that the first start named, whether they still are or not, and those named since."""
    first = [(str(system), str(rival)) for system, rival in starts[0].get("comparisons", ())]
    return list(dict.fromkeys([*first, *config.comparisons]))


def with_weights(summary: Summary, fits: list[Fit], systems: Path) -> Summary:
    """The summary with the weights of what was fused, of the first seed, among its notes."""
    notes = {data: dict(told) for data, told in summary.notes.items()}
    for fit in reversed(fits):
        if fit.system.kind == "fused":
            name = system_name(fit.system)
            path = fit_folder(systems, (fit.data, name, fit.seed)) / WEIGHTS
            for sampling, weights in json.loads(path.read_text("utf-8")).items():
                told = {feature: one["weight"] for feature, one in weights.items()}
                notes[fit.data][f"weights of {name}, {sampling}"] = told
    return summary.model_copy(update={"notes": notes})


def _frozen(config: EvalConfig, data: DataConfig, on_event: OnEvent) -> FrozenExamples:
    name = data_name(data)

    def hear(doing: str) -> None:
        on_event({"event": "data", "data": name, "doing": doing})

    def covered(items: Mapping[str, Item]) -> Iterable[str]:
        return _corpus(config, name, items).pages_of()

    return frozen_examples(data, cache_root() / "frozen", hear, covered)


def _corpus(config: EvalConfig, name: str, items: Mapping[str, Item]) -> Corpus:
    return build_corpus(config.corpora[name], items, cache_root() / "corpora")


def _asked(examples: FrozenExamples) -> dict[str, Any]:
    """What systems see: users, candidates, how much of a history, and by the hashes of the files also titles and times."""
    manifest = examples.manifest
    return {
        "digest": examples.digest,
        "history_items": manifest["config"]["history_items"],
        "sources": dict(manifest["sources"]),
    }


def description(
    config: EvalConfig, frozen: Mapping[str, FrozenExamples], corpora: Mapping[str, Corpus]
) -> dict[str, Any]:
    """What run.json holds: settings, and the digests of data and candidates."""
    return {
        "config": config.model_dump(mode="json"),
        "written": config.written,
        "data": {
            name: {key: value for key, value in examples.manifest.items() if key != "items"}
            for name, examples in frozen.items()
        },
        "corpora": {name: {"digest": c.digest, "pages": dict(c.counts)} for name, c in corpora.items()},
        "seeds": {"training": list(config.seeds), "data": {data_name(d): d.seed for d in config.data}},
        "fingerprint": {
            "examples": {name: _asked(examples) for name, examples in frozen.items()},
            "systems": {system_name(s): s.model_dump(mode="json") for s in config.systems},
            "models": {
                f"{type(model).__name__} {model.name or ''}".strip(): [
                    backbone_identity(model),
                    adapter_identity(model),
                ]
                for model in (*config.systems, *config.retrievals)
                if isinstance(model, BackboneConfig)
            }
            | {
                f"{type(s).__name__} {system_name(s)}": folder_identity(s.model)
                for s in config.systems
                if isinstance(s, LearnedSimilarityConfig | TitleSimilarityConfig | PageSimilarityConfig)
            }
            | {
                f"{type(s).__name__} {system_name(s)}": own_identity(s.at, s.settings)
                for s in config.systems
                if s.kind == "own"
            },
            "corpora": {name: corpus.digest for name, corpus in corpora.items()},
            "retrievals": {
                r.name: [r.counted(), pages_identity(r.pages_path), folder_identity(r.rerank_model)]
                for r in config.retrievals
            },
            "seeds": list(config.seeds),
            "part": config.part,
        },
    }
