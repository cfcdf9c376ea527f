"""A whole evaluation: its numbers, exactly once, whatever stops it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow")

import pyarrow.parquet as pq

from webrec.errors import ConfigurationError, WebRecError
from webrec.eval.evaluation import plan, run, search, worker
from webrec.eval.evaluation.config import EvalConfig, read_eval_config, resumed_config
from webrec.eval.evaluation.rows import RowStore
from webrec.eval.evaluation.summary import SUMMARY_FILE, read_summary
from webrec.eval.metrics.ranking import metric_values
from webrec.eval.report.run import read_run
from webrec.eval.report.write import write_report

from ...worlds import skewed, write_dataset  # noqa: TID252
from .runs import rows, write_config


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(plan, "PIECE", 50)
    monkeypatch.setenv("WEBREC_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def config(tmp_path: Path) -> EvalConfig:
    return read_eval_config(write_config(tmp_path))


def test_rows_and_summary(config: EvalConfig) -> None:
    summary = run.evaluate(config)
    found = rows(config.output)
    # 120 users with 2 draws each, two samplings; random with two seeds, the others with one.
    assert len(found) == 240 * 2 * 4
    for cell in summary.cells:
        own: dict[str, list[int]] = {}
        for (_, sampling, system, _, key), (rank, _) in found.items():
            if (sampling, system) == (cell.sampling, cell.system):
                own.setdefault(key.partition("#")[0], []).append(rank)
        assert (cell.users, cell.examples) == (120, 240)
        assert cell.seeds == (2 if cell.system == "random" else 1)
        for name, (mean, low, high) in cell.metrics.items():
            by_user = [metric_values(np.array(ranks))[name].mean() for ranks in own.values()]
            assert mean == pytest.approx(np.mean(by_user), abs=1e-6)
            assert low <= mean <= high
    assert read_summary(config.output) == summary
    told = json.loads((config.output / "run.json").read_text())
    assert told["data"]["films"]["digest"]
    assert len(told["starts"]) == 1
    assert told["starts"][0]["versions"]["webrec"]


def test_popularity_wins_where_it_can(tmp_path: Path) -> None:
    write_dataset(tmp_path / "hits", skewed(users=120, items=150, flat=3))
    data = {"path": "hits", "min_interactions": 0, "samplings": ["uniform"]}
    summary = run.evaluate(read_eval_config(write_config(tmp_path, data=[data])))
    found = {(c.sampling, c.system): c.metrics["ndcg@10"][0] for c in summary.cells}
    assert found["uniform", "popularity"] > found["uniform", "random"] + 0.05
    assert abs(found["uniform", "random"] - 0.227) < 0.05
    pair = next(p for p in summary.pairs if (p.sampling, p.rival) == ("uniform", "random"))
    assert pair.p < 0.01
    assert pair.difference[0] == pytest.approx(found["uniform", pair.system] - found["uniform", "random"], abs=1e-5)


def test_planned_comparisons(config: EvalConfig) -> None:
    first = run.evaluate(config)
    assert first.planned == []
    names = (("popularity", "random"), ("random", "popularity"))
    again = run.evaluate(config.model_copy(update={"comparisons": names}))
    assert again.model_copy(update={"planned": []}) == first  # nothing was asked again
    told = json.loads((config.output / "run.json").read_text())
    assert told["config"]["comparisons"] == [list(pair) for pair in names]
    value = {(c.sampling, c.system): c.metrics["ndcg@10"][0] for c in first.cells}
    assert [(p.sampling, p.system, p.rival) for p in again.planned] == [
        (sampling, *pair) for sampling in ("uniform", "matched") for pair in names
    ]
    for pair in again.planned:
        expected = value[pair.sampling, pair.system] - value[pair.sampling, pair.rival]
        assert pair.difference[0] == pytest.approx(expected, abs=1e-5)
    smallest = min(again.planned, key=lambda p: p.p)
    assert smallest.p_holm == pytest.approx(min(1, 4 * smallest.p))


def test_a_comparison_that_was_planned_stays(config: EvalConfig) -> None:
    """Fewer comparisons after the test part was read would make the correction milder."""
    names = (("popularity", "random"), ("near", "random"))
    planned = run.evaluate(config.model_copy(update={"comparisons": names})).planned
    fewer = config.model_copy(update={"comparisons": (("near", "popularity"), names[1])})
    again = run.evaluate(fewer).planned
    assert [(p.system, p.rival) for p in again if p.sampling == "matched"] == [*names, ("near", "popularity")]
    assert len(planned) == 4
    assert len(again) == 6


def test_nothing_is_asked_twice(config: EvalConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    run.evaluate(config)
    before, (file, *_) = rows(config.output), sorted(config.output.glob("rows/**/*.parquet"))
    file.unlink()
    asked: list[int] = []
    ask = worker.answers
    monkeypatch.setattr(
        worker, "answers", lambda system, examples: asked.append(len(examples)) or ask(system, examples)
    )
    again = run.evaluate(resumed_config(config.output))
    assert asked == [50]
    assert rows(config.output) == before
    assert again == read_summary(config.output)


def test_stopped_between_pieces(config: EvalConfig) -> None:
    events: list[dict[str, Any]] = []
    with pytest.raises(KeyboardInterrupt):
        run.evaluate(config, on_event=events.append, stop=lambda: sum(e["event"] == "answered" for e in events) == 7)
    assert len(rows(config.output)) == sum(e["rows"] for e in events if e["event"] == "answered")
    assert not (config.output / SUMMARY_FILE).exists()
    with pytest.raises(ConfigurationError, match="holds no finished evaluation; finish it with webrec eval --resume"):
        read_summary(config.output)
    kept = len(rows(config.output))
    run.evaluate(config, on_event=events.append)
    planned = [e for e in events if e["event"] == "planned"]
    assert [e["done"] for e in planned] == [0, kept]
    assert len(rows(config.output)) == planned[1]["rows"] == 1920


CODE = """
import sys, time
from pathlib import Path
from webrec.eval.evaluation import plan, run, worker
from webrec.eval.evaluation.config import read_eval_config
plan.PIECE = 20
ask = worker.answers
def slowly(system, examples):
    time.sleep(0.01)
    return ask(system, examples)
worker.answers = slowly
run.evaluate(read_eval_config(Path(sys.argv[1])))
"""


@pytest.mark.slow
def test_killed_at_ten_random_moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_bytes: Path) -> None:
    monkeypatch.setattr(plan, "PIECE", 20)
    model = {"kind": "llm", "backbone": str(tiny_bytes), "dtype": "float32"}
    systems = ["random", model, "popularity"]
    unbroken = read_eval_config(write_config(tmp_path, systems=systems), ["output=unbroken"])
    whole = run.evaluate(unbroken)
    generator, killed = random.Random(0), 0
    broken = read_eval_config(write_config(tmp_path, systems=systems, output="broken"))
    while killed < 10:
        process = subprocess.Popen([sys.executable, "-c", CODE, str(tmp_path / "eval.yaml")])
        before = len(list(broken.output.glob("rows/**/*.parquet")))
        while process.poll() is None and len(list(broken.output.glob("rows/**/*.parquet"))) <= before:
            time.sleep(0.01)
        time.sleep(generator.uniform(0, 0.08))
        if process.poll() is not None:
            break  # it finished: there was nothing left to kill
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        killed += 1
    assert killed == 10
    assert run.evaluate(broken).cells == [
        c.model_copy(update={"seconds_per_example": found.seconds_per_example})
        for c, found in zip(whole.cells, read_summary(broken.output).cells, strict=True)
    ]
    assert rows(broken.output) == rows(unbroken.output)


def test_one_user_gives_no_detectable_difference_and_whole_json(tmp_path: Path) -> None:
    data = {"path": "films", "min_interactions": 0, "test_users": 1, "samplings": ["uniform"]}
    config = read_eval_config(write_config(tmp_path, data=[data]))
    summary = run.evaluate(config)
    assert None in [pair.detectable for pair in summary.pairs]
    text = (config.output / SUMMARY_FILE).read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    write_report([read_run(config.output)], config.output)
    assert "nan" not in (config.output / "report.md").read_text().split("How to make")[0]


def test_a_run_that_was_refused_at_once_leaves_the_folder_to_another(tmp_path: Path) -> None:
    wrong = [{"kind": "llm", "backbone": str(tmp_path / "films")}]  # no model
    with pytest.raises(WebRecError):
        run.evaluate(read_eval_config(write_config(tmp_path, systems=wrong)))
    assert (tmp_path / "run" / "run.json").exists()
    config = read_eval_config(write_config(tmp_path))
    run.evaluate(config)
    assert len(rows(config.output)) == 1920


def test_another_run_is_refused(config: EvalConfig, tmp_path: Path) -> None:
    run.evaluate(config)
    for changes, message in (
        ({"seeds": [5]}, "seeds is"),
        ({"systems": ["random"]}, "systems.near"),
        ({"data": [{"path": "films", "min_interactions": 0, "draws": 3}]}, r"\(data\[0\].draws is 2 there and 3 now\)"),
        (
            {"data": [{"path": "films", "min_interactions": 0, "draws": 2, "history_items": 3}]},
            r"data\[0\].history_items",
        ),
    ):
        with pytest.raises(ConfigurationError, match=f"is of another run .*{message}"):
            run.evaluate(read_eval_config(write_config(tmp_path, **changes)))
    items = tmp_path / "films" / "items.jsonl"
    told = items.read_text("utf-8")
    items.write_text(told.replace('"title": "', '"title": "The '), "utf-8")  # the same ids, other titles
    with pytest.raises(ConfigurationError, match=r"is of another run .*examples.films"):
        run.evaluate(read_eval_config(write_config(tmp_path)))
    items.write_text(told, "utf-8")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match=r"holds 'thesis.txt' and no run.json; give a new folder"):
        run.evaluate(read_eval_config(write_config(tmp_path), ["output=taken"]))


def test_rows_of_other_pages_are_not_taken_over(tmp_path: Path, tiny_bytes: Path) -> None:
    """What was found goes along with the rows that read it; where this run has found something else, neither does."""
    reads = {"systems": ["random", {"kind": "title_in_pages", "retrieval": "prompt"}]}
    settings = {
        "data": [{"path": "films", "min_interactions": 0, "test_users": 6, "draws": 1}],
        "corpora": {"films": {"pages": [{"path": "pages.jsonl"}]}},
        "retrievals": [{"name": "prompt", "query_strategy": "prompt", "backbone": str(tiny_bytes), "dtype": "float32"}],
        **reads,
    }
    (tmp_path / "pages.jsonl").write_text(
        "".join(json.dumps({"title": f"of {n}", "text": f"film number {n} and thing {n}"}) + "\n" for n in range(60))
    )
    first = read_eval_config(write_config(tmp_path, output="first", **settings))
    run.evaluate(first)
    asked: list[str] = []

    def hear(event: dict[str, Any]) -> None:
        if event["event"] in {"searched", "answered"}:
            asked.append(f"{event['event']} {event.get('system', '')}".strip())

    second = read_eval_config(write_config(tmp_path, output="second", take_from="first", **settings))
    run.evaluate(second, on_event=hear)
    assert asked == []
    files = sorted((second.output / "found").rglob("*.parquet"))
    assert [f.read_bytes() for f in files] == [
        f.read_bytes() for f in sorted((first.output / "found").rglob("*.parquet"))
    ]
    third = read_eval_config(write_config(tmp_path, output="third", take_from="first", **settings))
    for file in files[:1]:
        table = pq.read_table(file)
        other = [json.dumps([{"title": "another", "text": "page", "url": "u"}])] * len(table)
        place = third.output / "found" / file.relative_to(second.output / "found")
        place.parent.mkdir(parents=True)
        pq.write_table(table.set_column(table.column_names.index("pages"), "pages", [other]), place)
    told = json.loads((second.output / "run.json").read_text())
    (third.output / "run.json").write_text(json.dumps({**told, "starts": told["starts"][:1]}))
    run.evaluate(third, on_event=hear)
    assert {entry for entry in asked if entry.startswith("answered")} == {"answered title_in_pages"}
    # Who reads is fused of in this run alone: what the test part read is taken, what the validation part reads is searched.
    asked.clear()
    fused = [*reads["systems"], {"kind": "fused", "evidence": [], "inputs": ["title_in_pages"]}]
    fourth = write_config(tmp_path, output="fourth", take_from="first", **settings | {"systems": fused})
    run.evaluate(read_eval_config(fourth), on_event=hear)
    assert "searched" in asked
    assert [json.loads((tmp_path / "fourth" / "run.json").read_text())["taken"][0]["from"]] == ["first"]
    assert asked.count("answered title_in_pages") == len(list((tmp_path / "fourth").rglob("rows_fitting/**/*.parquet")))


def test_what_was_taken_over_is_told(config: EvalConfig, tmp_path: Path) -> None:
    first = run.evaluate(config)
    began = json.loads((config.output / "run.json").read_text())["starts"]
    path = write_config(tmp_path, output="second", take_from="run")
    assert run.evaluate(read_eval_config(path)).cells == first.cells
    told = json.loads((tmp_path / "second" / "run.json").read_text())
    assert told["taken"] == [{"from": "run", "starts": began}]
    config.output.rename(tmp_path / "moved")
    run.evaluate(read_eval_config(path))  # all is here: nothing is looked for there
    training = tmp_path / "training"
    training.mkdir()
    (training / "run.json").write_text(json.dumps({"fingerprint": {"dtype": "float32"}, "starts": []}))
    with pytest.raises(ConfigurationError, match=r"take_from: .*training holds no evaluation; give the folder of one"):
        run.evaluate(read_eval_config(write_config(tmp_path, output="third", take_from="training")))


def test_damaged_and_missing_rows_are_told(config: EvalConfig) -> None:
    run.evaluate(config)
    store = RowStore(config.output / "rows")
    frozen = {"films": run._frozen(config, config.data[0], lambda _: None)}
    (piece, *_) = run.plan(config, frozen)[0].pieces
    path = piece.path(store.folder)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigurationError, match="it is damaged; remove it and call webrec eval again"):
        run.evaluate(config)
    pq.write_table(pq.read_table(sorted(path.parent.glob("*.parquet"))[1]).slice(1), path)
    with pytest.raises(ConfigurationError, match=r"holds 49 rows and should hold 50|it holds \d+ rows"):
        run.evaluate(config)
    path.unlink()
    with pytest.raises(ConfigurationError, match="it is missing; call webrec eval again"):
        store.read([piece])
    run.evaluate(config)


def test_two_at_once(config: EvalConfig) -> None:
    from webrec.eval.run_folder import RunFolder

    told = run.description(config, {"films": run._frozen(config, config.data[0], lambda _: None)}, {})
    with (
        RunFolder(config.output, told, "an evaluation"),
        pytest.raises(ConfigurationError, match="another process is writing"),
    ):
        run.evaluate(config)


def test_pages_are_searched_once_and_systems_are_tuned(tmp_path: Path, tiny_bytes: Path) -> None:
    pytest.importorskip("peft")
    pages = [{"title": f"Thing {n} told", "text": f"Thing {n} and its user.", "item_id": f"i{n}"} for n in range(400)]
    (tmp_path / "pages.jsonl").write_text("".join(json.dumps(page) + "\n" for page in pages), encoding="utf-8")
    model = {"backbone": str(tiny_bytes), "dtype": "float32"}
    training = {"epochs": 1, "batch_size": 4, "warmup_steps": 1, "validate_every": 2, "checkpoint_every": 1}
    reading = {"kind": "llm", **model, "retrieval": "prompt", "prompt": {"pages": 2}}
    path = write_config(
        tmp_path,
        data=[{"path": "films", "min_interactions": 0, "test_users": 5, "draws": 1, "tuning_examples": 8}],
        corpora={"films": {"pages": [{"path": "pages.jsonl"}]}},
        retrievals=[{"name": "prompt", "query_strategy": "prompt", **model}],
        systems=[
            {"kind": "title_in_pages", "retrieval": "prompt"},
            {**reading, "name": "shuffled", "placebo": "shuffled"},
            {**reading, "name": "tuned", "tune": {"training": training, "validation_examples": 4}},
        ],
        seeds=[0, 1],
    )
    config = read_eval_config(path)
    events: list[dict[str, Any]] = []
    with pytest.raises(KeyboardInterrupt):
        run.evaluate(config, on_event=events.append, stop=lambda: sum(e["event"] == "searched" for e in events) == 2)
    summary = run.evaluate(config, on_event=events.append)
    assert [e["of"] for e in events if e["event"] == "searching"] == [
        22,
        12,
    ]  # 5 users twice, then 8 to learn from and 4
    assert [e["examples"] for e in events if e["event"] == "searched"] == [5, 5, 8, 4]
    assert sum(e["event"] == "training step" for e in events) == 2 * 2
    assert {(c.system, c.seeds) for c in summary.cells} == {("title_in_pages", 1), ("shuffled", 2), ("tuned", 2)}
    tuned = [c for c in summary.cells if c.system == "tuned"]
    assert all(c.tokens_read_per_example > 200 and c.spread for c in tuned)
    groups = tuned[0].groups
    assert set(groups["page about the target"]) <= {"found", "not found"}
    assert all(sum(users for users, *_ in named.values()) == 5 for named in groups.values())
    told = json.loads((config.output / "run.json").read_text())
    assert "formats" not in told["starts"][0]  # it was stopped while searching by the prompt, which asks no model
    assert told["starts"][1]["formats"] == {name: ["float32 on cpu"] for name in ("shuffled", "tuned")}
    assert told["corpora"]["films"]["pages"] == {"about an item": 400, "about nothing known": 0, "noise": 0}
    elsewhere: list[dict[str, Any]] = []
    again = run.evaluate(config.model_copy(update={"output": tmp_path / "again"}), on_event=elsewhere.append)
    assert not [e for e in elsewhere if e["event"] == "searching"]  # these pages were searched before
    assert again.pairs == summary.pairs
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "code_digest", lambda: "other code")
        changed: list[dict[str, Any]] = []
        run.evaluate(config.model_copy(update={"output": tmp_path / "changed"}), on_event=changed.append)
    assert [e["of"] for e in changed if e["event"] == "searching"] == [
        22
    ]  # what other code found is not taken for its own
    none = config.data[0].model_copy(update={"tuning_examples": 0})
    other = config.model_copy(update={"data": (none,), "output": tmp_path / "other"})
    with pytest.raises(ConfigurationError, match="tuning_examples: a system is fine-tuned and there are none"):
        run.evaluate(other)
