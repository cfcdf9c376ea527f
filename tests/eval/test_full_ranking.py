"""Ranking all items against a slow count."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

from webrec.errors import ConfigurationError
from webrec.eval.data.build import frozen_examples
from webrec.eval.evaluation.config import read_eval_config
from webrec.eval.evaluation.run import evaluate
from webrec.eval.full_ranking import full_ranking, full_table

from .evaluation.runs import write_config


def test_popularity_over_all_items(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBREC_CACHE", str(tmp_path / "cache"))
    config = read_eval_config(write_config(tmp_path, systems=["random", "popularity"]))
    evaluate(config)
    said: list[str] = []
    monkeypatch.setattr("webrec.eval.full_ranking.AT_ONCE", 50)
    monkeypatch.setattr("webrec.eval.full_ranking.TOLD_EVERY", 2)
    told = full_ranking(config, "films", said.append)
    assert said[0] == "popularity: 100 users"
    frozen = frozen_examples(config.data[0], tmp_path / "cache" / "frozen")
    counts, past = frozen.training().counts, frozen.past("test")
    hits = []
    for example in frozen.examples("test", "uniform"):
        if example.draw == 0:
            own = counts.get(example.target, 0)
            left = set(frozen.items) - set(past[example.user]) - {example.target}
            hits.append(sum(counts.get(i, 0) >= own for i in left) < 10)
    assert told["users"] == len(hits) == 120
    assert told["systems"]["popularity"]["hr@10"] == pytest.approx(sum(hits) / len(hits), abs=1e-5)
    assert list(told["systems"]) == ["popularity"]
    assert "| popularity | " in full_table(told)
    assert told["machine"]
    assert told["run"]["seeds"]
    assert told["run"]["data"]["films"]["digest"] == told["examples"]
    assert str(tmp_path) not in json.dumps(told)
    with pytest.raises(ConfigurationError, match=r"--data: books is not in the run; use one of films"):
        full_ranking(config, "books")
