"""Systems fused of others in a whole evaluation: through the rows, validation first, in one go or resumed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow")
import pyarrow.dataset as ds

from webrec.cache_folder import cache_root
from webrec.errors import ConfigurationError
from webrec.eval.data.build import frozen_examples
from webrec.eval.evaluation import plan, run
from webrec.eval.evaluation.config import EvalConfig, read_eval_config
from webrec.eval.evaluation.input_scores import InputScores
from webrec.eval.evaluation.rows import RowStore
from webrec.eval.systems.fused import WEIGHTS

from .runs import write_config

SYSTEMS: list[Any] = [
    "random",
    "popularity",
    "co_occurrence",
    {"kind": "co_occurrence", "name": "co_occurrence-other", "history": "other"},
    {"kind": "fused", "name": "crowd", "evidence": ["counts", "times", "items"], "penalty": 10},
    {"kind": "fused", "name": "both", "evidence": [], "inputs": ["crowd", "random"]},
    {"kind": "fused", "name": "placebo", "evidence": [], "inputs": ["crowd", "co_occurrence-other", "random"]},
]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(plan, "PIECE", 50)
    monkeypatch.setenv("WEBREC_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def config(tmp_path: Path) -> EvalConfig:
    return read_eval_config(write_config(tmp_path, systems=SYSTEMS))


def test_rows_weights_and_seeds(config: EvalConfig) -> None:
    summary = run.evaluate(config)
    seeds = {(cell.system, cell.seeds) for cell in summary.cells}
    # Random has a seed of its own, so what is fused of it has; the crowd has not.
    assert seeds == {
        ("random", 2), ("popularity", 1), ("co_occurrence", 1), ("co_occurrence-other", 1), ("crowd", 1), ("both", 2), ("placebo", 2)
    }  # fmt: skip
    assert all(cell.examples == 240 for cell in summary.cells)
    fitting = {path.parent.parent.name for path in config.output.glob("rows_fitting/**/*.parquet")}
    assert fitting == {"random", "crowd", "co_occurrence-other"}
    # Whoever reads the folder of rows finds one for each data set, sampling, system, seed and example, as documented.
    read = (
        ds.dataset(config.output / "rows").to_table(columns=["data", "sampling", "system", "seed", "key"]).to_pylist()
    )
    assert len(read) == len({tuple(row.values()) for row in read}) == 240 * sum(cell.seeds for cell in summary.cells)
    told = json.loads((config.output / "systems" / "films" / "both" / "seed-1" / WEIGHTS).read_text())
    assert list(told["matched"]) == ["crowd", "crowd, rank", "random", "random, rank"]
    assert summary.notes["films"]["weights of both, matched"] == {
        name: one["weight"] for name, one in json.loads(
            (config.output / "systems" / "films" / "both" / "seed-0" / WEIGHTS).read_text()
        )["matched"].items()
    }  # fmt: skip


def test_a_run_that_was_stopped_goes_on(config: EvalConfig) -> None:
    whole = run.evaluate(config.model_copy(update={"output": config.output.parent / "whole"}))
    calls = iter(range(10**6))
    for limit in (3, 20, 45):
        with pytest.raises(KeyboardInterrupt):
            run.evaluate(config, stop=lambda limit=limit: next(calls) > limit)
    again = run.evaluate(config)
    values = [[(c.system, c.sampling, c.metrics) for c in s.cells] for s in (whole, again)]
    assert values[0] == values[1]


def test_validation_itself_is_asked_with_the_rows_that_there_are(config: EvalConfig) -> None:
    asked = config.model_copy(update={"part": "validation"})
    summary = run.evaluate(asked)
    assert len(summary.cells) == 14
    assert not list(asked.output.glob("rows_fitting/**/*.parquet"))


def test_scores_by_item(config: EvalConfig) -> None:
    run.evaluate(config)
    frozen = frozen_examples(config.data[0], cache_root() / "frozen")
    fits = plan.plan(config, {"films": frozen})
    store = RowStore(config.output / "rows")
    scores = InputScores(store, fits, frozen, "test", 1)
    rows = store.read([p for p in fits[1].pieces if p.sampling == "matched"]).to_pylist()
    by_key = {row["key"]: row for row in rows}
    for example in frozen.examples("test", "matched")[:40]:
        if (row := by_key[example.key])["seed"] == 1:
            assert scores.of("random", example) == row["scores"]
            turned = replace(example, candidates=example.candidates[::-1])
            assert scores.of("random", turned) == row["scores"][::-1]
    assert np.isfinite(scores.of("crowd", frozen.examples("validation", "uniform")[0])).all()


@pytest.mark.parametrize(
    ("systems", "message"),
    [
        (
            [{"kind": "fused", "inputs": ["popularity"]}, "popularity"],
            "has the input 'popularity', which no system before",
        ),
        (["popularity", {"kind": "fused", "history": "other"}], "history: a fused system has its inputs' histories"),
        ([{"kind": "popularity", "history": "other"}], "history: popularity reads none"),
        (
            [{"kind": "llm", "history": "other", "retrieval": "r"}],
            "history: it is other, and the pages are the user's own",
        ),
        ([{"kind": "fused", "evidence": []}], "evidence: a fused system needs some, or inputs"),
    ],
)
def test_wrong_settings(tmp_path: Path, systems: list[Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        read_eval_config(write_config(tmp_path, systems=systems))


def test_what_another_run_answered_is_taken_and_only_where_it_is_the_same(config: EvalConfig, tmp_path: Path) -> None:
    first = read_eval_config(write_config(tmp_path, systems=SYSTEMS[:3], output="first"))
    run.evaluate(first)
    near = {"kind": "co_occurrence", "steps": 3}  # of the same name and another number of steps
    told = write_config(tmp_path, systems=[*SYSTEMS[:2], near, *SYSTEMS[3:]], take_from="first")
    asked: list[str] = []

    def hear(event: dict[str, Any]) -> None:
        if event["event"] == "answered":
            asked.append(event["system"])

    summary = run.evaluate(read_eval_config(told), on_event=hear)
    assert asked.count("popularity") == 0
    assert {"co_occurrence", "crowd", "both"} <= set(asked)
    assert asked.count("random") == 2 * 2 * 5, "only what the validation part asks of it: 240 examples in pieces of 50"
    own = {(c.system, c.sampling): c.metrics for c in summary.cells}
    alone = run.evaluate(read_eval_config(write_config(tmp_path, systems=[*SYSTEMS[:2], near], output="alone")))
    assert all(own[c.system, c.sampling] == c.metrics for c in alone.cells)
    with pytest.raises(ConfigurationError, match=r"take_from: .* holds no evaluation"):
        run.evaluate(read_eval_config(write_config(tmp_path, output="other", take_from="nowhere")))
