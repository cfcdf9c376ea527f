"""What a report says, that it quotes and never obeys, and what it leaves out."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from webrec.cli.main import main
from webrec.errors import ConfigurationError
from webrec.eval.metrics.ranking import METRICS
from webrec.eval.report import paper
from webrec.eval.report.ablations import ablations
from webrec.eval.report.plot import interval_plot
from webrec.eval.report.run import portable
from webrec.eval.report.view import paper_view, run_view
from webrec.eval.report.write import markdown_table, write_report

from ...finished_runs import SYSTEMS, finished, head, llm  # noqa: TID252


def test_the_papers_headline_gains() -> None:
    """+23.5 % HR@10 on Toys and +17.2 % NDCG@10 on Video Games, recomputed from its tables."""
    gain, rival = paper.over_strongest_rival("hr@10")["Toys"]
    assert (round(gain, 3), rival) == (0.235, "CoRAL")
    gain, rival = paper.over_strongest_rival("ndcg@10")["Video Games"]
    assert (round(gain, 3), rival) == (0.172, "CoRAL")
    hops = paper.along(paper.HOPS, "ndcg@10", "none")
    assert (round(hops["Beauty"]["1"], 3), round(hops["Toys"]["1"], 3)) == (0.205, 0.124)


def test_ablations_are_systems_that_differ_in_one_setting() -> None:
    found = {a.setting: dict(a.steps) for a in ablations(SYSTEMS, [{"name": "keywords", "pages": 10}])}
    assert found["tune.head.hops"] == {"1": "mp-1", "2": "mp-2"}
    assert found["prompt.pages"] == {"5": "rag", "10": "more pages"}
    assert found["tune.head"]["none"] == "rag"
    assert found["tune.head"]["literal"] == "literal"
    assert len(found) == 3


def test_two_differences_are_no_ablation() -> None:
    systems = [llm("a"), llm("b", tune=head(), prompt={"pages": 1})]
    assert ablations(systems, [{"name": "keywords"}]) == []
    queries = [llm("a", retrieval="one"), llm("b", retrieval="two"), llm("c", retrieval=None)]
    retrievals = [{"name": "one", "query_strategy": "keywords"}, {"name": "two", "query_strategy": "prompt"}]
    found = {a.setting: dict(a.steps) for a in ablations(queries, retrievals)}
    assert found["retrieval.query_strategy"] == {"keywords": "a", "prompt": "b"}


def test_what_the_tables_say() -> None:
    (cell,) = run_view(finished()).cells
    assert [row[0] for row in cell.main.rows] == ["more pages", "literal", "mp-2", "mp-1", "rag", "popularity"]
    assert cell.main.rows[0][1] == "0.550 [0.510, 0.590]"
    assert cell.main.rows[1][-3:] == ("0.050 [0.010, 0.090]", "0.0100", "0.060")
    assert cell.main.heads[7:] == ("spread over seeds", "behind the best", "p", "could be seen")
    once = [one.model_copy(update={"spread": {}, "seeds": 1}) for one in finished().summary.cells]
    alone = replace(finished(), summary=finished().summary.model_copy(update={"cells": once}))
    assert run_view(alone).cells[0].main.heads[7:] == ("behind the best", "p", "could be seen")
    assert {len(row) for row in run_view(alone).cells[0].main.rows} == {10}
    by_setting = {table.heads[0]: table for table, _ in cell.ablations}
    assert by_setting["tune.head.hops"].rows[1] == ("2", "mp-2", "0.450 [0.410, 0.490]", "+12.5%")
    assert "Toys none: -11.1%, 2: +6.5%" in by_setting["tune.head.hops"].note
    assert "its head over vanilla RAG +16.3% to +25.2%" in by_setting["tune.head"].note
    assert "WebRec grows with the number of pages" in by_setting["prompt.pages"].note
    ours = [row for row in paper_view([finished()]).rows if row[0] == "first"]
    assert ours[3][2:6] == ("NDCG@10", "literal", "more pages", "-9.1%")


@pytest.mark.parametrize(
    "changes",
    [
        {"adapter": "adapters/films"},  # which may have a head
        {"placebo": "shuffled"},
        {"history": "other"},
        {"kind": "fused", "inputs": ["rag", "mp-1"]},
    ],
)
def test_what_is_no_rival_of_a_head(changes: dict[str, Any]) -> None:
    run = finished()
    systems = [{**s, **changes} if s.get("name") == "more pages" else s for s in run.config["systems"]]
    told = replace(run, description={**run.description, "config": {**run.config, "systems": systems}})
    assert {row[4] for row in paper_view([told]).rows if row[0] == "first"} == {"rag"}


def test_a_rival_that_never_hits_has_no_gain() -> None:
    run = finished()
    cells = [cell.model_copy(update={"metrics": dict.fromkeys(METRICS, (0.0, 0.0, 0.0))}) for cell in run.summary.cells]
    told = replace(run, summary=run.summary.model_copy(update={"cells": cells}))
    assert {row[5] for row in paper_view([told]).rows if row[0] == "first"} == {""}


def test_what_was_not_planned_is_said_to_explore(tmp_path: Path) -> None:
    run = finished()
    write_report([run], tmp_path)
    said = "The configuration names no comparison, so all of these explore."
    assert said in (tmp_path / "report.md").read_text("utf-8")
    pair = run.summary.pairs[0].model_copy(update={"p_holm": 0.04})
    write_report([replace(run, summary=run.summary.model_copy(update={"planned": [pair]}))], tmp_path)
    text = (tmp_path / "report.md").read_text("utf-8")
    assert said not in text
    assert "all other comparisons explore" in text


def test_the_test_that_was_done_is_named(tmp_path: Path) -> None:
    run = finished()  # of two seeds
    once = [cell.model_copy(update={"seeds": 1, "spread": {}}) for cell in run.summary.cells]
    for told, over, test in (
        (run, "intervals over users and trainings", "Welch's t-test over users and trainings"),
        (
            replace(run, summary=run.summary.model_copy(update={"cells": once})),
            "bootstrap intervals over users in brackets",
            "p: paired sign-flip permutation test; could",
        ),
    ):
        write_report([told], tmp_path)
        text = (tmp_path / "report.md").read_text("utf-8")
        assert over in text
        assert test in text


def test_planned_comparisons_come_first(tmp_path: Path) -> None:
    run = finished()
    pair = run.summary.pairs[0].model_copy(update={"p_holm": 0.04, "gain": (0.1, -0.02, 0.2)})
    planned = replace(run, summary=run.summary.model_copy(update={"planned": [pair]}))
    write_report([planned], tmp_path)
    numbers = r"+0.050 \[+0.010, +0.090] | +10.0% \[-2.0%, +20.0%] | 0.0400 | 0.060"
    row = f"| films, uniform | {pair.system} against {pair.rival} | {numbers} |"
    text = (tmp_path / "report.md").read_text("utf-8")
    assert row in text
    assert text.index(row) < text.index("Rankings")
    assert "Named in the configuration, by a run that does not say when they were named" in text
    for named, said in (
        ([[pair.system, pair.rival]], "all of them when the run began"),
        ([], f"{pair.system} against {pair.rival};"),
    ):
        told = {**planned.description, "starts": [{**planned.description["starts"][0], "comparisons": named}]}
        write_report([replace(planned, description=told)], tmp_path)
        assert said in (tmp_path / "report.md").read_text("utf-8")
    assert "+10.0% [-2.0%, +20.0%]" in (tmp_path / "report.html").read_text("utf-8")
    write_report([run], tmp_path)
    assert "Planned" not in (tmp_path / "report.md").read_text("utf-8")


def test_files_of_a_report(tmp_path: Path) -> None:
    files = write_report([finished()], tmp_path / "out")
    assert [f.name for f in files] == ["report.html", "report.md", "result.json"]
    html, markdown, result = (f.read_text("utf-8") for f in files)
    assert "<script" not in html
    assert not re.search(r"(src|href)=[\"']?https?:", html)
    for text in (html, markdown):
        assert "mp-2" in text
        assert "d" * 64 in text
        assert "webrec eval eval.yaml" in text
    for text in (html, markdown, result):
        assert "/machine/somebody" not in text
        assert "secret place/llama" in text  # of a path its last two parts
    told = json.loads(result)
    assert told["summary"]["cells"][0]["system"] == "popularity"
    assert "fingerprint" not in told["run"]
    several = write_report([finished(), finished(name="second")], tmp_path / "both")
    assert [f.name for f in several[2:]] == ["first.result.json", "second.result.json"]
    for text, heading in ((several[0].read_text("utf-8"), "<h1>{}</h1>"), (several[1].read_text("utf-8"), "\n# {}\n")):
        first, second, cell = (
            text.index(heading.format("first")),
            text.index(heading.format("second")),
            "films, uniform",
        )
        assert first < text.index(cell, first) < second < text.index(cell, second)  # each before its tables
    assert "<h1>first</h1>" not in html
    alike = write_report([finished(), finished(), finished(name="first-2")], tmp_path / "alike")
    assert [f.name for f in alike[2:]] == ["first.result.json", "first-2.result.json", "first-2-2.result.json"]
    assert all(f.exists() for f in alike)


def test_foreign_text_is_quoted(tmp_path: Path) -> None:
    hostile = "</td><script>alert(1)</script> \u202e | `x` [a](javascript:b) <img src=x onerror=y>"
    html, markdown, _ = (f.read_text("utf-8") for f in write_report([finished(hostile)], tmp_path))
    assert "<script>alert" not in html
    assert "<img" not in html
    assert "\u202e" not in html
    assert "<img" not in markdown
    assert markdown_table(run_view(finished("x")).cells[0].main).count("\n") > 8


def test_every_start_is_told_with_its_machine() -> None:
    run = finished()
    there = {"processor": "Some CPU", "cpus": 16, "gpus": ["NVIDIA H200"]}
    start = {"time": "2026-01-02", "commit": "def", "platform": "Linux", "machine": there, "versions": {"torch": "2"}}
    start["formats"] = {
        "rag": ["bfloat16 on cpu"],
        "tuned": ["bfloat16 on cpu"],
        "films": ["float32 on cpu", "int8 on cpu"],
    }
    told = replace(run, description={**run.description, "taken": [{"from": "other", "starts": [start]}]})
    assert list(told.starts()) == [
        ("2026-01-01", "abc", "Linux", "webrec 0.1.0"),
        (
            "2026-01-02, for other",
            "def",
            "Linux, 16 × Some CPU, NVIDIA H200; rag, tuned in bfloat16 on cpu; films in float32 on cpu and int8 on cpu",
            "torch 2",
        ),
    ]


def test_plots() -> None:
    drawn = str(interval_plot([("<b>", 0.5, 0.4, 0.6), ("w" * 90, 0.3, 0.2, 0.35)], "NDCG@10", 0.227))
    assert "&lt;b&gt;" in drawn
    assert drawn.count("<circle") == 2
    assert "chance" in drawn
    assert interval_plot([("one", 0.0, 0.0, 0.0)], "NDCG@10")
    with pytest.raises(ValueError, match="at least one point"):
        interval_plot([], "NDCG@10")


def test_portable() -> None:
    assert portable({"a": ["/x/y/z/film.csv", "plain"], "b": 3}) == {"a": ["z/film.csv", "plain"], "b": 3}


def test_a_run_that_is_not_finished(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["report", str(tmp_path)])
    assert done.exit_code == 2
    assert "it holds no finished evaluation; finish it with webrec eval --resume" in done.output
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(ConfigurationError, match=r"--output: .* cannot be written"):
        write_report([finished()], tmp_path / "file")
