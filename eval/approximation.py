"""What an approximation changes: keywords and rankings of a finished evaluation that ran with it and without.

`python -m webrec.eval.approximation RUN`, where RUN has a retrieval and a system of the name `float32`, and others to compare with them.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from webrec.errors import ConfigurationError
from webrec.eval.metrics.ranking import metric_values
from webrec.eval.metrics.statistics import compare, told_detectable
from webrec.eval.report.run import FinishedRun, read_run

EXACT = "float32"
METRICS = ("hr@10", "ndcg@10")


def approximation(run: Path, exact: str = EXACT) -> dict[str, Any]:
    """Each retrieval's keywords and each system's metrics against those of `exact`, for every data set.

    Keywords: Jaccard overlap per example, mean and share of examples with the same. Metrics: paired over users.
    Raises `ConfigurationError` where RUN is no finished evaluation, or has nothing of the name `exact`.
    """
    finished = read_run(run)
    retrievals = [r["name"] for r in finished.config["retrievals"]]
    systems = list(finished.systems())
    for kind, names in (("retrieval", retrievals), ("system", systems)):
        if exact not in names:
            raise ConfigurationError(f"{run}: it has no {kind} of the name {exact!r}; it has {', '.join(names)}")
    report: dict[str, Any] = {
        "exact": exact,
        "run": finished.manifest(),
        "keywords": [],
        "metrics": [],
    }
    for data in finished.description["data"]:
        found = {name: _keywords(run / "found" / data / name) for name in retrievals}
        ranks = {name: _ranks(run / "rows" / data / name) for name in systems}
        for name in retrievals:
            if name != exact:
                report["keywords"].append(
                    {"data": data, "retrieval": name, **keyword_overlap(found[exact], found[name])}
                )
        for name in systems:
            if name != exact:
                report["metrics"] += [
                    {"data": data, "system": name, **row} for row in _paired(ranks[exact], ranks[name])
                ]
    report["seconds_per_example"] = _seconds(finished)
    return report


def keyword_overlap(first: Mapping[str, Sequence[str]], second: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Mean Jaccard overlap of the keywords of the same examples (two empty lists are the same), and how many are equal."""
    overlaps = []
    for key, one in first.items():
        left, right = set(one), set(second[key])
        overlaps.append(len(left & right) / len(left | right) if left | right else 1.0)
    return {
        "examples": len(overlaps),
        "overlap": statistics.fmean(overlaps),
        "same": statistics.fmean(overlap == 1.0 for overlap in overlaps),
    }


def _paired(exact: Mapping[str, int], rough: Mapping[str, int]) -> list[dict[str, Any]]:
    keys = sorted(exact)
    values = [metric_values(np.array([ranks[key] for key in keys])) for ranks in (rough, exact)]
    rows = []
    for metric in METRICS:
        found = compare(values[0][metric], values[1][metric])
        rows.append(
            {
                "metric": metric,
                "exact": float(values[1][metric].mean()),
                "approximate": float(values[0][metric].mean()),
                "difference": asdict(found.difference),
                "p": found.p,
                "detectable": None if math.isnan(found.detectable) else found.detectable,
            }
        )
    return rows


def _seconds(finished: FinishedRun) -> dict[str, float]:
    return {f"{cell.data}, {cell.system}": cell.seconds_per_example for cell in finished.summary.cells}


def _keywords(folder: Path) -> dict[str, list[str]]:
    """By example of the part that was asked about."""
    return {row["key"]: row["keywords"] for row in _rows(folder, "test-*.parquet", ["key", "keywords"])}


def _ranks(folder: Path) -> dict[str, int]:
    rows = _rows(folder, "*/*.parquet", ["key", "sampling", "rank"])
    return {f"{row['sampling']} {row['key']}": row["rank"] for row in rows}


def _rows(folder: Path, pattern: str, columns: list[str]) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    files = sorted(folder.glob(pattern))
    if not files:
        raise ConfigurationError(f"{folder}: it holds no rows; call webrec eval again")
    return [row for file in files for row in pq.read_table(file, columns=columns).to_pylist()]


def approximation_table(report: Mapping[str, Any]) -> str:
    """What changed, one line for each comparison."""
    exact = report["exact"]
    lines = [
        f"| | {exact} | approximate | difference (95 %) | p | could be seen |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in report["metrics"]:
        low, middle, high = (row["difference"][name] for name in ("low", "mean", "high"))
        lines.append(
            f"| {row['system']}, {row['data']}, {row['metric'].upper()} | {row['exact']:.3f} | {row['approximate']:.3f} "
            f"| {middle:+.3f} ({low:+.3f} to {high:+.3f}) | {row['p']:.2f} | {told_detectable(row['detectable'])} |"
        )
    for row in report["keywords"]:
        lines.append(
            f"| keywords of {row['retrieval']}, {row['data']}, {row['examples']} users: overlap | 1 | {row['overlap']:.2f} | | | |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Compare, print as JSON, and write it where `--output` says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a finished evaluation")
    parser.add_argument("--exact", default=EXACT, help="retrieval and system to compare with (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="file to write the result to, as JSON")
    chosen = parser.parse_args()
    text = json.dumps(approximation(chosen.run, chosen.exact), indent=1)
    print(text)
    if chosen.output is not None:
        chosen.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
