"""What is found is shared between runs only where it is known in which number format the backbone computes."""

from __future__ import annotations

from typing import Any

import pytest

from webrec.eval.evaluation import search
from webrec.eval.evaluation.config import EvalConfig
from webrec.eval.retrieval.config import RetrievalConfig


def config(**settings: Any) -> EvalConfig:
    return EvalConfig.model_validate({"output": "run", "data": [{"path": "films"}], "systems": ["random"], **settings})


@pytest.mark.parametrize(
    ("backbone", "here", "actors"),
    [
        ({"dtype": "float32", "device": "cpu"}, "float32 on cpu", "float32 on cpu"),
        ({"dtype": "int8"}, "int8 on cpu", "int8 on cpu"),
        ({"dtype": "auto", "device": "cpu"}, "here", None),
        ({"dtype": "bfloat16", "device": "cuda"}, "here", "bfloat16 on cuda"),
    ],
)
def test_the_format(backbone: dict[str, str], here: str, actors: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    retrieval = RetrievalConfig.model_validate({"name": "r", **backbone})
    monkeypatch.setattr(search, "number_format", lambda _: here)
    assert search._format(config(), retrieval) == here
    monkeypatch.setattr(search, "number_format", lambda _: pytest.fail("another machine's is not ours"))
    assert search._format(config(ray={"actors": 2}), retrieval) == actors
