"""Systems of a finished run ranking every item that the user has not taken, as much of the literature does it.

    python -m webrec.eval.full_ranking out/rivals --data amazon_beauty_2014 --output eval/results/full_ranking.json

Nothing is trained again: what the run's folder keeps is loaded. Histories are whole here (SASRec reads the last 50), and examples are
those of the run: a user's last item, left out where it was taken before. Ties count against a system.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from webrec.cache_folder import cache_root
from webrec.errors import ConfigurationError
from webrec.eval.data.build import frozen_examples
from webrec.eval.data.dataset import RankingExample
from webrec.eval.data.frozen import FrozenExamples
from webrec.eval.evaluation.config import EvalConfig, data_name, resumed_config, system_name
from webrec.eval.evaluation.run import SYSTEMS
from webrec.eval.evaluation.worker import Material, Worker
from webrec.eval.metrics.ranking import metric_values, target_ranks
from webrec.eval.provenance import provenance
from webrec.eval.report.run import read_run
from webrec.eval.systems.build import Readings
from webrec.eval.systems.system import System

AT_ONCE = 64
TOLD_EVERY = 50
"""Batches between two lines of progress."""
KINDS = ("popularity", "item_knn", "co_occurrence", "sasrec")
LITERATURE: Mapping[str, Sequence[tuple[str, tuple[float, float, float, float]]]] = {
    "amazon_beauty_2014": (
        ("SASRec in Zhou et al. 2020 (S3-Rec), binary cross-entropy", (0.0387, 0.0605, 0.0249, 0.0318)),
        ("SASRec in phonism/genrec's documentation, width 64", (0.0469, 0.0688, 0.0305, 0.0375)),
    )
}
"""HR@5, HR@10, NDCG@5, NDCG@10 on the same data."""
SHOWN = ("hr@5", "hr@10", "ndcg@5", "ndcg@10")


def full_ranking(
    config: EvalConfig, data: str, say: Callable[[str], None] = print, kinds: Sequence[str] = KINDS
) -> dict[str, Any]:
    """Metrics of each system of `kinds` in the run, over all its users, and what makes that run and this measurement again.

    Raises `ConfigurationError` for unknown `data` and where the run is not finished.
    """
    chosen = next((d for d in config.data if data_name(d) == data), None)
    if chosen is None:
        raise ConfigurationError(
            f"--data: {data} is not in the run; use one of {', '.join(map(data_name, config.data))}"
        )
    frozen = frozen_examples(chosen, cache_root() / "frozen")
    worker = Worker(config, {data: Material(frozen, None)}, {data: Readings()}, config.output / SYSTEMS)
    examples = _examples(frozen, config.part)
    rows = {}
    for system in config.systems:
        if system.kind in kinds:
            name = system_name(system)
            fitted = worker.fit((data, name, config.seeds[0]))
            ranks = _ranks(fitted, examples, frozen, partial(_said, say, name))
            rows[name] = {metric: round(float(value.mean()), 5) for metric, value in metric_values(ranks).items()}
            say(json.dumps({name: rows[name]}))
    return {
        "data": data,
        "examples": frozen.digest,
        "users": len(examples),
        "items": len(frozen.items),
        **provenance("numpy", "torch"),
        "run": read_run(config.output).manifest(),
        "systems": rows,
    }


def _said(say: Callable[[str], None], name: str, users: int) -> None:
    say(f"{name}: {users:,} users")


def _examples(frozen: FrozenExamples, part: Any) -> list[RankingExample]:
    past = frozen.past(part)
    first = [e for e in frozen.examples(part, frozen.samplings[0]) if e.draw == 0]
    return [replace(example, history=past[example.user], candidates=()) for example in first]


def _ranks(
    system: System, examples: Sequence[RankingExample], frozen: FrozenExamples, done: Callable[[int], None]
) -> np.ndarray[Any, Any]:
    items = sorted(frozen.items)
    ranks: list[int] = []
    for begin in range(0, len(examples), AT_ONCE):
        if begin and begin // AT_ONCE % TOLD_EVERY == 0:
            done(begin)
        batch = []
        for example in examples[begin : begin + AT_ONCE]:
            taken = set(example.history)
            batch.append(replace(example, candidates=tuple(i for i in items if i not in taken)))
        scores = system.rank_many([replace(example, target="") for example in batch])
        for example, given in zip(batch, scores, strict=True):
            ranks += target_ranks([given], [example.candidates.index(example.target)]).tolist()
    return np.array(ranks, dtype=np.int64)


def full_table(report: dict[str, Any]) -> str:
    """Ours, and what others report of the same data."""
    lines = ["| | HR@5 | HR@10 | NDCG@5 | NDCG@10 |", "| --- | --- | --- | --- | --- |"]
    for name, metrics in report["systems"].items():
        lines.append(f"| {name} | " + " | ".join(f"{metrics[m]:.4f}" for m in SHOWN) + " |")
    for name, values in LITERATURE.get(report["data"], ()):
        lines.append(f"| {name} | " + " | ".join(f"{value:.4f}" for value in values) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished evaluation")
    parser.add_argument("--data", required=True, help="which of its data sets")
    parser.add_argument("--output", type=Path, required=True, help="file for the result")
    parser.add_argument(
        "--kinds", nargs="+", choices=KINDS, default=KINDS, help="which systems (default: all of these)"
    )
    chosen = parser.parse_args()
    report = full_ranking(
        resumed_config(chosen.run), chosen.data, lambda line: print(line, file=sys.stderr, flush=True), chosen.kinds
    )
    chosen.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
