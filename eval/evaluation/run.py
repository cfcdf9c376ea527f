"""Running an evaluation on one machine: what was answered before is not asked again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from webrec.cache_folder import cache_root
from webrec.eval.data.build import frozen_examples
from webrec.eval.data.config import DataConfig
from webrec.eval.data.dataset import RankingExample
from webrec.eval.data.frozen import FrozenExamples
from webrec.eval.evaluation.config import EvalConfig, data_name, system_name
from webrec.eval.evaluation.rows import Piece, RowStore
from webrec.eval.evaluation.search import read_for, targets_found
from webrec.eval.evaluation.summary import Summary, summarise, write_summary
from webrec.eval.model_identity import adapter_identity, backbone_identity
from webrec.eval.retrieval.corpus import Corpus, build_corpus
from webrec.eval.run_folder import RunFolder
from webrec.eval.systems.config import SMALL_PIECES, AnySystem, Readings, build_system, is_learned
from webrec.eval.systems.system import answers
from webrec.models.config import BackboneConfig

OnEvent = Callable[[dict[str, Any]], None]
PIECE = 4096
"""Examples asked together by a quick system: what is lost, at most, when a run is killed."""


@dataclass(frozen=True)
class Fit:
    """One system learning from one data set with one seed, and the pieces that it then answers."""

    data: str
    system: AnySystem
    seed: int
    pieces: tuple[Piece, ...]


def evaluate(
    config: EvalConfig,
    *,
    on_event: OnEvent = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> Summary:
    """Run `config`, from where it was stopped if it was.

    `on_event` hears `{event, …}`: data, fitting, answered, finished. Once `stop()` is true, `KeyboardInterrupt` is raised after
    the piece under way. Raises `InputError` and its kin for wrong data or settings, before anything is asked.
    """
    # Each data set is frozen first: the run is refused at once where one is wrong, and its digests are part of what it is.
    frozen = {data_name(data): _frozen(data, on_event) for data in config.data}
    corpora = {
        name: build_corpus(corpus, frozen[name].items, cache_root() / "corpora")
        for name, corpus in config.corpora.items()
    }
    with RunFolder(config.output, description(config, frozen, corpora), "an evaluation") as folder:
        folder.started({"threads": config.threads})
        store = RowStore(config.output / "rows")
        fits = plan(config, frozen)
        pieces = [piece for fit in fits for piece in fit.pieces]
        done = sum(piece.end - piece.begin for piece in pieces if store.has(piece))
        on_event({"event": "planned", "rows": sum(p.end - p.begin for p in pieces), "done": done})
        readings = {
            name: read_for(config, name, examples, corpora.get(name), on_event, stop)
            for name, examples in frozen.items()
        }
        for fit in fits:
            if all(store.has(piece) for piece in fit.pieces):
                continue
            for piece in _answer(config, frozen[fit.data], readings[fit.data], fit, store, on_event):
                on_event({"event": "answered", "system": system_name(fit.system), "rows": piece.end - piece.begin})
                if stop():
                    raise KeyboardInterrupt
        on_event({"event": "summarising"})
        summary = summarise(config, frozen, fits, store, targets_found(config, frozen, readings, corpora))
        write_summary(config.output, summary)
        return summary


def _frozen(data: DataConfig, on_event: OnEvent) -> FrozenExamples:
    def hear(doing: str) -> None:
        on_event({"event": "data", "data": data_name(data), "doing": doing})

    return frozen_examples(data, cache_root() / "frozen", hear)


def description(
    config: EvalConfig, frozen: Mapping[str, FrozenExamples], corpora: Mapping[str, Corpus]
) -> dict[str, Any]:
    """What run.json holds: settings, and the digests of data and candidates."""
    told = config.model_dump(mode="json")
    return {
        "config": told,
        "data": {
            name: {key: value for key, value in examples.manifest.items() if key != "items"}
            for name, examples in frozen.items()
        },
        "corpora": {name: {"digest": c.digest, "pages": dict(c.counts)} for name, c in corpora.items()},
        "seeds": {"training": list(config.seeds), "data": {data_name(d): d.seed for d in config.data}},
        "fingerprint": {
            "examples": {name: examples.digest for name, examples in frozen.items()},
            "systems": {system_name(s): s.model_dump(mode="json") for s in config.systems},
            "models": {
                f"{type(model).__name__} {model.name or ''}".strip(): [
                    backbone_identity(model),
                    adapter_identity(model),
                ]
                for model in (*config.systems, *config.retrievals)
                if isinstance(model, BackboneConfig)
            },
            "corpora": {name: corpus.digest for name, corpus in corpora.items()},
            "retrievals": {r.name: r.model_dump(mode="json") for r in config.retrievals},
            "seeds": list(config.seeds),
            "part": config.part,
        },
    }


def plan(config: EvalConfig, frozen: Mapping[str, FrozenExamples]) -> list[Fit]:
    """Everything that is to be asked, in order."""
    fits = []
    for data, examples in frozen.items():
        count = examples.count(config.part)
        for system in config.systems:
            size = min(PIECE, SMALL_PIECES.get(system.kind, PIECE))
            for seed in config.seeds if is_learned(system) else config.seeds[:1]:
                pieces = [
                    Piece(data, sampling, system_name(system), seed, begin, min(begin + size, count))
                    for sampling in examples.samplings
                    for begin in range(0, count, size)
                ]
                fits.append(Fit(data, system, seed, tuple(pieces)))
    return fits


def _answer(
    config: EvalConfig, frozen: FrozenExamples, readings: Readings, fit: Fit, store: RowStore, on_event: OnEvent
) -> Iterator[Piece]:
    name = system_name(fit.system)
    on_event({"event": "fitting", "data": fit.data, "system": name, "seed": fit.seed})

    def hear(event: dict[str, Any]) -> None:
        on_event({**event, "event": f"training {event['event']}"})

    folder = config.output / "systems" / fit.data / name / f"seed-{fit.seed}"
    system = build_system(fit.system, folder, config.threads, readings, fit.seed, hear)
    system.fit(frozen.training(), fit.seed, validation_examples(frozen))
    on_event({"event": "fitted"})
    asked: dict[str, list[RankingExample]] = {}
    for piece in fit.pieces:
        if store.has(piece):
            continue
        if piece.sampling not in asked:
            asked = {piece.sampling: frozen.examples(config.part, piece.sampling)}  # type: ignore[arg-type]
        examples = asked[piece.sampling][piece.begin : piece.end]
        store.write(piece, examples, answers(system, examples))
        yield piece


def validation_examples(frozen: FrozenExamples) -> list[RankingExample]:
    """What a system may look at to decide when to stop: one draw of each sampling for each validation user."""
    return [e for sampling in frozen.samplings for e in frozen.examples("validation", sampling) if e.draw == 0]
