"""From data to report: other protocols and samplings, settings that make a run again, and what is refused before anything is asked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("pyarrow")

from webrec.errors import ConfigurationError, InputError
from webrec.eval.evaluation import run
from webrec.eval.evaluation.config import read_eval_config, resumed_config
from webrec.eval.evaluation.summary import Summary
from webrec.eval.report.run import from_result, read_run
from webrec.eval.report.write import write_report

from ...worlds import dataset, skewed, write_dataset  # noqa: TID252
from .runs import write_config


def _metrics(summary: Summary) -> list[tuple[str, str, dict[str, tuple[float, float, float]]]]:
    return [(cell.sampling, cell.system, cell.metrics) for cell in summary.cells]


def test_the_report_has_settings_that_make_it_again(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    pages = [{"title": f"Thing {n}", "text": "It is there.", "item_id": f"i{n}"} for n in range(40)]
    (tmp_path / "shop" / "pages.jsonl").write_text("".join(json.dumps(p) + "\n" for p in pages), encoding="utf-8")
    write_config(tmp_path)
    (tmp_path / "plans").mkdir()
    told = {
        "output": "../out/first",
        "data": [{"path": "../films", "min_interactions": 0, "draws": 1}],
        "corpora": {"films": {"pages": [{"path": "../shop/pages.jsonl"}]}},
        "systems": ["popularity", "page_exists"],
    }
    (tmp_path / "plans" / "eval.yaml").write_text(yaml.safe_dump(told), encoding="utf-8")
    config = read_eval_config(tmp_path / "plans" / "eval.yaml")
    summary = run.evaluate(config)
    settings = read_run(config.output).settings()
    assert str(tmp_path) not in settings
    (tmp_path / "plans" / "again.yaml").write_text(settings, encoding="utf-8")
    again = read_eval_config(tmp_path / "plans" / "again.yaml", ["output=../out/again"])
    assert again.data[0].path == tmp_path / "films"
    assert _metrics(run.evaluate(again)) == _metrics(summary)
    assert _metrics(run.evaluate(resumed_config(config.output))) == _metrics(summary)
    assert read_run(config.output).settings() == settings
    compared = read_eval_config(tmp_path / "plans" / "eval.yaml", ['comparisons=[["popularity", "page_exists"]]'])
    assert len(run.evaluate(compared).planned) == 2  # of another plan, on the same rows
    settings = read_run(config.output).settings()
    assert yaml.safe_load(settings)["comparisons"] == [["popularity", "page_exists"]]
    in_code = config.model_copy(update={"part": "validation"})
    assert (in_code.written["part"], in_code.written["data"]) == ("validation", config.written["data"])
    write_report([read_run(config.output)], tmp_path / "report")
    committed = from_result(json.loads((tmp_path / "report" / "result.json").read_text("utf-8")))
    assert committed.settings() == settings


def test_a_part_without_examples_is_refused(tmp_path: Path) -> None:
    titles = {f"{kind}{n}": f"Thing {n}" for n in range(9) for kind in "ab"} | {f"c{n}": f"Other {n}" for n in range(9)}
    world = dataset({f"u{n}": [f"a{n}", f"b{n}", f"c{n}"] for n in range(9)}, titles)  # b is a once more by its title
    write_dataset(tmp_path / "few", world)
    data = {"path": "few", "min_interactions": 0, "candidates": 3, "samplings": ["uniform"]}
    config = read_eval_config(write_config(tmp_path, data=[data], systems=["popularity"], part="validation"))
    with pytest.raises(InputError, match="part: few has no validation examples; ask another part, or give users with"):
        run.evaluate(config)
    assert not config.output.exists()


def test_pages_of_nobody_cannot_leave_a_user_out(tmp_path: Path) -> None:
    page = {"title": "Thing 1", "text": "It is there.", "item_id": "i1", "user_id": "u1"}
    (tmp_path / "pages.jsonl").write_text(json.dumps(page) + "\n", encoding="utf-8")
    retrievals = [{"name": "prompt", "query_strategy": "prompt", "not_by_user": True}]
    with pytest.raises(ConfigurationError, match="prompt has not_by_user, and no page of films says who wrote it"):
        run.evaluate(
            read_eval_config(
                write_config(tmp_path, corpora={"films": {"pages": [{"path": "pages.jsonl"}]}}, retrievals=retrievals)
            )
        )
    signed = {"films": {"pages": [{"path": "pages.jsonl", "author_field": "user_id"}]}}
    run.evaluate(read_eval_config(write_config(tmp_path, corpora=signed, retrievals=retrievals)))


@pytest.mark.parametrize(
    ("data", "users"),
    [
        ({"protocol": "time_cut", "samplings": ["uniform", "matched"]}, None),
        ({"samplings": ["covered", "matched"]}, 120),
    ],
)
def test_other_protocols_from_data_to_report(tmp_path: Path, data: dict[str, Any], users: int | None) -> None:
    world = skewed(users=120)
    timed = {
        user: tuple(replace(t, time=n * 100_000 + int(user[1:]) * 700) for n, t in enumerate(own))
        for user, own in world.users.items()
    }
    write_dataset(tmp_path / "films", replace(world, users=timed))
    pages = [{"title": f"Thing {n}", "text": "It is there.", "item_id": f"i{n}"} for n in range(0, 1000, 2)]
    (tmp_path / "pages.jsonl").write_text("".join(json.dumps(p) + "\n" for p in pages), encoding="utf-8")
    path = write_config(
        tmp_path,
        data=[{"path": "films", "min_interactions": 0, "draws": 2, **data}],
        corpora={"films": {"pages": [{"path": "pages.jsonl"}]}},
        systems=["random", "popularity", "page_exists"],
        seeds=[0],
    )
    config = read_eval_config(path)
    summary = run.evaluate(config)
    assert {cell.sampling for cell in summary.cells} == set(data["samplings"])
    (tested,) = {c.users for c in summary.cells}
    if users is None:
        assert 0 < tested < 120  # those alone who took something before the last period and in it
    else:
        assert tested == users
        (there,) = (c for c in summary.cells if (c.system, c.sampling) == ("page_exists", "covered"))
        assert there.metrics["ndcg@10"][0] == pytest.approx(
            0.227, abs=0.03
        )  # all of a set have a page, or none: chance
    write_report([read_run(config.output)], tmp_path / "report")
    assert f"{tested:,} users" in (tmp_path / "report" / "report.md").read_text("utf-8")
