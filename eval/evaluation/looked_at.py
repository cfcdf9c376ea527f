"""A few examples of a run as a person reads them: titles, ranks, what was searched for and found; written as examples.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from webrec.errors import ConfigurationError
from webrec.eval.data.dataset import RankingExample
from webrec.eval.data.frozen import FrozenExamples
from webrec.eval.evaluation.config import EvalConfig
from webrec.eval.evaluation.plan import Fit
from webrec.eval.evaluation.rows import RowStore
from webrec.eval.evaluation.summary import Summary
from webrec.eval.systems.build import Readings
from webrec.eval.whole_text import write_whole_text

EXAMPLES_FILE = "examples.json"
DRAWN, APART = 12, 6
TEXT = 400


class ReadPage(BaseModel):
    """A page that was found, its text cut."""

    model_config = ConfigDict(frozen=True)

    title: str
    text: str
    url: str


class Reading(BaseModel):
    """What one retrieval did for an example."""

    model_config = ConfigDict(frozen=True)

    state: str
    query: str
    pages: list[ReadPage]


class LookedAt(BaseModel):
    """One example. `why`: drawn, won or lost (the best system against its closest rival). `scores`: by system, of each candidate."""

    model_config = ConfigDict(frozen=True)

    data: str
    sampling: str
    key: str
    why: str
    history: list[str]
    candidates: list[str]
    target: int
    ranks: dict[str, int]
    scores: dict[str, list[float]]
    readings: dict[str, Reading]


def look(
    config: EvalConfig,
    frozen: Mapping[str, FrozenExamples],
    fits: Sequence[Fit],
    store: RowStore,
    readings: Mapping[str, Readings],
    summary: Summary,
) -> list[LookedAt]:
    """Of each data set and sampling 12 examples by hash, and the 6 that the best system wins and loses most clearly."""
    found = []
    for data, examples in frozen.items():
        for sampling in examples.samplings:
            asked = examples.examples(config.part, sampling)
            own = {f.pieces[0].system: f for f in reversed(fits) if f.data == data}  # the first seed of each system
            rows = {
                name: store.read([p for p in fit.pieces if p.sampling == sampling], ["rank", "scores"])
                for name, fit in own.items()
            }
            ranks = {name: table["rank"].to_pylist() for name, table in rows.items()}
            for why, place in _chosen(asked, ranks, summary, data, sampling):
                example = asked[place]
                found.append(
                    LookedAt(
                        data=data,
                        sampling=sampling,
                        key=example.key,
                        why=why,
                        history=[examples.items[i].title for i in example.history],
                        candidates=[examples.items[i].title for i in example.candidates],
                        target=example.candidates.index(example.target),
                        ranks={name: of[place] for name, of in ranks.items()},
                        scores={name: table["scores"][place].as_py() for name, table in rows.items()},
                        readings=_readings(readings[data], example),
                    )
                )
    return found


def _chosen(
    asked: Sequence[RankingExample], ranks: Mapping[str, Sequence[int]], summary: Summary, data: str, sampling: str
) -> list[tuple[str, int]]:
    by_hash = sorted(range(len(asked)), key=lambda place: blake2b(asked[place].key.encode()).digest())
    chosen = [("drawn", place) for place in by_hash[:DRAWN]]
    pairs = [p for p in summary.pairs if (p.data, p.sampling) == (data, sampling)]
    if pairs:
        closest = min(pairs, key=lambda pair: pair.difference[0])
        gap = [theirs - own for own, theirs in zip(ranks[closest.system], ranks[closest.rival], strict=True)]
        rest = sorted(by_hash[DRAWN:], key=lambda place: -gap[place])  # equal gaps stay in the order of the hash
        chosen += [("won", place) for place in rest[:APART] if gap[place] > 0]
        chosen += [("lost", place) for place in rest[::-1][:APART] if gap[place] < 0]
    return chosen


def _readings(readings: Readings, example: RankingExample) -> dict[str, Reading]:
    told = {}
    for name, found in readings.found.items():
        one = found[example.part, example.sampling][example.key]
        pages = [ReadPage(title=p.title, text=p.text[:TEXT], url=p.url) for p in one.pages]
        told[name] = Reading(state=one.state, query=one.query, pages=pages)
    return told


def write_looked_at(folder: Path, examples: Sequence[LookedAt]) -> None:
    """Write examples.json, whole or not at all."""
    write_whole_text(folder / EXAMPLES_FILE, json.dumps([e.model_dump(mode="json") for e in examples]) + "\n")


def read_looked_at(folder: Path) -> list[LookedAt]:
    """The examples of a finished run; none where the file is missing. Raises `ConfigurationError` if it is damaged."""
    path = folder / EXAMPLES_FILE
    if not path.exists():
        return []
    try:
        return [LookedAt.model_validate(one) for one in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError):
        raise ConfigurationError(f"{path}: it is damaged; remove it, or call webrec eval again") from None
