"""A finished run with every part that a report shows, made without computing anything."""

from __future__ import annotations

from typing import Any

from webrec.eval.evaluation.looked_at import LookedAt, Reading, ReadPage
from webrec.eval.evaluation.summary import Cell, Pair, Summary
from webrec.eval.metrics.ranking import METRICS
from webrec.eval.report.run import FinishedRun


def llm(name: str, **changes: Any) -> dict[str, Any]:
    """A language model's settings as run.json has them."""
    return {
        "kind": "llm",
        "name": name,
        "backbone": "/models/secret place/llama",
        "retrieval": "keywords",
        "prompt": {"pages": 5},
        "tune": {"head": None, "training": {"epochs": 1}},
        **changes,
    }


def head(**settings: Any) -> dict[str, Any]:
    """A tuning with a head."""
    return {"head": {"kind": "pairwise", "hops": 1, "layers": [2], **settings}, "training": {"epochs": 1}}


SYSTEMS = [
    {"kind": "popularity", "name": None},
    llm("rag"),
    llm("mp-1", tune=head()),
    llm("mp-2", tune=head(hops=2)),
    llm("literal", tune=head(kind="literal")),
    llm("more pages", prompt={"pages": 10}),
]


def finished(text: str = "Soap", name: str = "first") -> FinishedRun:
    """A run on one data set; `text` stands wherever foreign text can stand."""
    names = [s["name"] or s["kind"] for s in SYSTEMS]
    values = {system: 0.3 + 0.05 * number for number, system in enumerate(names)}
    cells = [
        Cell(
            data="films",
            sampling="uniform",
            system=system,
            users=40,
            examples=80,
            seeds=2,
            metrics=dict.fromkeys(METRICS, (value, value - 0.04, value + 0.04)),
            spread=dict.fromkeys(METRICS, 0.01),
            groups={"items in the history": {"1-2": (10, value, value - 0.1, value + 0.1)}},
            seconds_per_example=0.5,
            tokens_read_per_example=900,
            tokens_written_per_example=64,
        )
        for system, value in values.items()
    ]
    best = names[-1]
    pairs = [
        Pair(
            data="films",
            sampling="uniform",
            system=best,
            rival=rival,
            difference=(0.05, 0.01, 0.09),
            gain=None,
            p=0.01,
            detectable=0.06,
        )
        for rival in names[:-1]
    ]
    chance = dict.fromkeys(METRICS, 0.25)
    notes = {"films": {"window": 50, "redrawn": {"uniform": 3}}}
    looked = LookedAt(
        data="films",
        sampling="uniform",
        key="u#0",
        why="won",
        history=[text],
        candidates=[text, "Brush"],
        target=1,
        ranks=dict.fromkeys(names, 1),
        scores={n: [-1.5, -0.5] for n in names},
        readings={"keywords": Reading(state="found", query=text, pages=[ReadPage(title=text, text=text, url=text)])},
    )
    description = {
        "config": {
            "output": "/machine/somebody/runs/first",
            "data": [{"path": "/machine/somebody/films"}],
            "systems": SYSTEMS,
            "retrievals": [{"name": "keywords", "pages": 10}],
            "part": "test",
            "threads": 1,
        },
        "data": {"films": {"digest": "d" * 64, "sources": {"interactions.csv": "e" * 64}}},
        "corpora": {"films": {"digest": "f" * 64, "pages": {"about an item": 3, "noise": 1}}},
        "seeds": {"training": [0, 1], "data": {"films": 0}},
        "fingerprint": {"secret": "no"},
        "starts": [{"time": "2026-01-01", "commit": "abc", "platform": "Linux", "versions": {"webrec": "0.1.0"}}],
    }
    summary = Summary(metric="ndcg@10", chance={"films": chance}, cells=cells, pairs=pairs, notes=notes)
    return FinishedRun(name, description, summary, (looked,))
