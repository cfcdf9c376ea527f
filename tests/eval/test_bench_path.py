"""The measurements of the path run on a tiny model, and their tables and picture say what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

pytest.importorskip("torch")

from webrec.eval import bench_floor
from webrec.eval.bench_floor import Machine, Work
from webrec.eval.bench_path import SYSTEMS, measure_path
from webrec.eval.bench_picture import picture
from webrec.eval.bench_score import measure_scoring, spread, summary
from webrec.eval.bench_tables import goals_table, memory_table, ratios_table, scoring_table, shares_table
from webrec.eval.reasoning_limit import limits_table, summarise
from webrec.models.backbone import Backbone, get_backbone
from webrec.models.config import BackboneConfig


@pytest.fixture(autouse=True)
def _small_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_floor, "_SIDE", 128)
    monkeypatch.setattr(bench_floor, "_BYTES", 2**20)


@pytest.fixture
def backbone(tiny_bytes: Path) -> Backbone:
    return get_backbone(BackboneConfig(backbone=str(tiny_bytes)))


def test_the_floor_counts_every_product_once(backbone: Backbone) -> None:
    work = Work.of(backbone.model)
    config: Any = backbone.model.config
    one = backbone.model.model.layers[0]
    inner = sum(p.numel() for p in one.parameters() if p.dim() == 2)
    assert work.weights == inner * config.num_hidden_layers
    assert work.vocabulary == config.vocab_size * config.hidden_size
    machine = Machine(flops=1.0, bandwidth=1e30)
    # In the last layer two of five rows need their keys and values alone, and look at none of their 1 + 2 pairs.
    own: Any = one.self_attn
    beside = inner - own.k_proj.weight.numel() - own.v_proj.weight.numel()
    linear = 2 * (work.weights * 5 - beside * 2) + 2 * work.vocabulary * 2
    pairs = work.attention * (6 + 6 + 3) - work.attention / config.num_hidden_layers * 3
    assert work.reading(machine, 3, 2, behind=2, own=3) == pytest.approx(linear + pairs)
    slow = Machine(flops=1e30, bandwidth=2.0)
    assert work.reading(slow, 3, 1) == work.pass_bytes / 2
    assert work.writing(slow, 7, 20, 100) == pytest.approx(7 * work.pass_bytes / 2)
    every = 2 * (work.weights + work.vocabulary) + 100 * work.attention
    assert work.writing(machine, 7, 20, 100) == pytest.approx(20 * every)  # bound by arithmetic


def test_the_machine_is_measured() -> None:
    machine = Machine.measured()
    assert machine.flops > 1e8
    assert machine.bandwidth > 1e8


@pytest.mark.slow
def test_the_path_once(backbone: Backbone) -> None:
    written: list[int] = []

    def other(prompt: object, tokens: int) -> int:
        written.append(tokens)
        return tokens

    report = measure_path(backbone, 1, others={"of a test": other}, say=lambda _: None)
    assert written == [1, report["reasoning_tokens"]]
    assert all(row["median"] >= 0 for row in report["ratios"].values())
    assert report["wholes"]["webrec"]["median"] == 1
    assert set(SYSTEMS) < set(report["shares"])
    assert "decoder of a test over reasoning" in report["ratios"]
    assert len(ratios_table({"float32": report, "bfloat16": report}).splitlines()) == len(report["ratios"]) + 2
    assert len(shares_table(report).splitlines()) > 5
    ElementTree.fromstring(picture(report["shares"]))


def test_goals_are_reached_or_not() -> None:
    good, bad = summary([1.0]), summary([3.0])
    names = [
        "generate(), bfloat16, over reasoning",
        "generate(), bfloat16, over decoder int8",
        "all but reasoning over vanilla RAG",
        "the whole over its floor",
        "extraction in one pass over a plain forward",
    ]
    for row, reached in [
        (good, [True, False, False, True, True, True]),
        (bad, [False, True, True, False, False, False]),
    ]:
        path, score = {"ratios": dict.fromkeys(names, row)}, {"score": [{"packed_over_plain": row}]}
        lines = goals_table({"float32": path, "bfloat16": {"ratios": {}}}, {"float32": score}).splitlines()
        assert lines[0] == "| | goal | float32 | bfloat16 |"
        assert [": yes |" in line for line in lines[2:]] == reached
        assert all(line.count(": ") >= 1 for line in lines[2:])


def test_scoring_once(backbone: Backbone) -> None:
    rows = measure_scoring(backbone, 2, [30], [3], say=lambda _: None)
    assert rows[0]["packed_over_plain"]["rounds"] == 2
    report = {"dtype": "float32", "score": rows}
    lines = scoring_table({"float32": report, "bfloat16": report}, report).splitlines()
    assert lines[2].startswith("| float32 | 30 | 3 | ")
    assert lines[3].startswith("| bfloat16 | 30 | 3 | ")
    assert [line.count(spread(rows[0]["packed_over_plain"], 3)) for line in lines[2:]] == [2, 1]


def test_a_summary_says_its_spread() -> None:
    assert spread(summary([3.0, 1.0, 2.0])) == "2.00 (1.00-3.00)"


def test_the_picture_has_a_piece_for_each_node() -> None:
    part = {"median": 0.5, "least": 0.4, "greatest": 0.6}
    root = ElementTree.fromstring(picture({"a & b": {"reason": part, "score": part, "sift": part}}))
    rows = [e for e in root.iter("{http://www.w3.org/2000/svg}rect") if e.get("height") == "26"]
    assert len(rows) == 3
    assert len({e.get("width") for e in rows}) == 1
    assert "a & b" in [e.text for e in root.iter("{http://www.w3.org/2000/svg}text")]


def test_shared_keywords_are_counted_of_each_user() -> None:
    rows = [
        {"user": user, "limit": limit, "tokens": limit, "stop": "limit", "keywords": words, "pages": []}
        for user, limit, words in [("a", 1, ["x"]), ("a", 2, ["x", "y"]), ("b", 1, []), ("b", 2, [])]
    ]
    first, last = summarise(rows, 2)
    assert (first["limit"], first["keywords"], first["pages"]) == (1, 0.75, 1.0)
    assert last["keywords"] == 1.0
    assert limits_table({"summary": [first, last]}).splitlines()[2] == "| 1 | 1 | 0% | 0.75 | 1.00 |"


def test_the_table_of_memory() -> None:
    row = {"context": 2048, "generated": 128, "plain": 10.0, "ours": 12.0, "all layers": 9000.0}
    assert memory_table([row]).splitlines()[2] == "| 2,048 | 128 | 10 | 12 | 9,000 |"
