"""What an approximation changes, read from a small finished evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from webrec.errors import ConfigurationError
from webrec.eval.approximation import approximation, keyword_overlap
from webrec.eval.evaluation.config import read_eval_config
from webrec.eval.evaluation.run import evaluate

from .evaluation.runs import write_config


def test_overlap_of_keywords() -> None:
    first = {"a": ["red", "boots"], "b": [], "c": ["x"]}
    found = keyword_overlap(first, {"a": ["boots", "blue"], "b": [], "c": ["x"]})
    assert found == {"examples": 3, "overlap": pytest.approx((1 / 3 + 1 + 1) / 3), "same": pytest.approx(2 / 3)}


def test_of_a_finished_run(tmp_path: Path, tiny_bytes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBREC_CACHE", str(tmp_path / "cache"))
    search: dict[str, Any] = {"backbone": str(tiny_bytes), "providers": ["sample"], "reasoning_tokens": 8}
    reading = {"kind": "llm", "backbone": str(tiny_bytes), "prompt": {"pages": 2}}
    config = write_config(
        tmp_path,
        data=[{"path": "films", "min_interactions": 0, "test_users": 12, "draws": 1, "samplings": ["uniform"]}],
        retrievals=[{**search, "name": name, "dtype": name} for name in ("float32", "int8")],
        systems=[{**reading, "name": name, "dtype": name, "retrieval": name} for name in ("float32", "int8")],
        seeds=[0],
    )
    evaluate(read_eval_config(config))
    told = approximation(tmp_path / "run")
    ((keywords,), metrics) = told["keywords"], told["metrics"]
    assert (keywords["retrieval"], keywords["examples"]) == ("int8", 12)
    assert 0 <= keywords["same"] <= keywords["overlap"] <= 1
    assert {row["metric"]: row["system"] for row in metrics} == {"hr@10": "int8", "ndcg@10": "int8"}
    for row in metrics:
        assert row["difference"]["mean"] == pytest.approx(row["approximate"] - row["exact"])
        assert row["difference"]["users"] == 12
    assert set(told["seconds_per_example"]) == {"films, float32", "films, int8"}
    assert str(tmp_path) not in str(told["run"])
    with pytest.raises(ConfigurationError, match="it has no retrieval of the name 'bfloat16'; it has float32, int8"):
        approximation(tmp_path / "run", "bfloat16")
