"""Learned likeness in a whole evaluation: read from titles or pages, asked with another history, fused, stopped and gone on with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow")

from webrec.errors import ConfigurationError
from webrec.eval.evaluation import run
from webrec.eval.evaluation.config import EvalConfig, read_eval_config
from webrec.eval.systems import learned_similarity

from ...worlds import skewed  # noqa: TID252
from .runs import write_config

SMALL = {"epochs": 3, "patience": 1, "negatives": 16}
SYSTEMS: list[Any] = [
    {"kind": "learned_similarity", "name": "titles", **SMALL},
    {"kind": "learned_similarity", "name": "pages", "reads": "pages", **SMALL},
    {"kind": "learned_similarity", "name": "pages-other", "reads": "pages", "history": "other", **SMALL},
    {"kind": "fused", "name": "both", "inputs": ["titles", "pages"]},
    {"kind": "fused", "name": "placebo", "inputs": ["titles", "pages-other"]},
]


class Characters:
    """A unit vector for each text, by its characters; remembers what it was given."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str]) -> Any:
        """(texts, 16)."""
        self.asked += texts
        rows = np.stack([np.random.default_rng(list(text.encode())).normal(size=16) for text in texts])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(autouse=True)
def encoder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Characters:
    characters = Characters()
    monkeypatch.setenv("WEBREC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(learned_similarity, "get_sentence_encoder", lambda _: characters)
    monkeypatch.setattr(learned_similarity, "open_content_store", lambda: None)
    return characters


def config(folder: Path, **changes: Any) -> EvalConfig:
    told = skewed(users=120).items
    pages = [
        {"title": item.title, "text": f"What {item.title} is.", "item": item_id}
        for item_id, item in list(told.items())[::2]
    ]
    (folder / "pages.jsonl").write_text("".join(json.dumps(page) + "\n" for page in pages), "utf-8")
    corpora = {"films": {"pages": [{"path": "pages.jsonl", "item_field": "item"}]}}
    return read_eval_config(write_config(folder, **{"systems": SYSTEMS, "corpora": corpora, **changes}))


def test_titles_pages_and_another_history(tmp_path: Path, encoder: Characters) -> None:
    events: list[dict[str, Any]] = []
    asked = config(tmp_path)
    summary = run.evaluate(asked, on_event=events.append)
    assert {(cell.system, cell.seeds) for cell in summary.cells} == {(system["name"], 2) for system in SYSTEMS}
    texts = {text for text in encoder.asked if "What" in text}
    titles = set(encoder.asked) - texts
    assert texts
    assert all(text.endswith(" is.") for text in texts)
    assert {text.partition(" What")[0] for text in texts} < titles
    trained = {event["system"] for event in events if event["event"] == "training epoch"}
    assert trained == {"titles", "pages"}, "the placebo asks what was trained, and trains nothing"
    assert not (asked.output / "systems" / "films" / "pages-other").exists()
    by_name = {(c.system, c.sampling): c.metrics["ndcg@10"] for c in summary.cells}
    assert by_name["pages", "matched"] != by_name["pages-other", "matched"]


def test_a_run_that_was_stopped_goes_on(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    whole = run.evaluate(config(tmp_path / "whole"))
    asked = config(tmp_path)
    calls = iter(range(10**6))
    for limit in (1, 6):
        with pytest.raises(KeyboardInterrupt):
            run.evaluate(asked, stop=lambda limit=limit: next(calls) > limit)
    again = run.evaluate(asked)
    values = [[(c.system, c.sampling, c.metrics) for c in s.cells] for s in (whole, again)]
    assert values[0] == values[1]


def test_what_read_other_pages_is_not_taken_over(tmp_path: Path) -> None:
    run.evaluate(config(tmp_path, systems=SYSTEMS[:2], seeds=[0], output="first"))
    asked: list[str] = []

    def hear(event: dict[str, Any]) -> None:
        if event["event"] == "answered":
            asked.append(event["system"])

    again = {"systems": SYSTEMS[:2], "seeds": [0], "take_from": "first"}
    run.evaluate(config(tmp_path, **again, output="same"), on_event=hear)
    assert not asked
    other = config(tmp_path, **again, output="other")
    pages = tmp_path / "pages.jsonl"
    pages.write_text(pages.read_text("utf-8").replace("What", "Whatever"), "utf-8")
    run.evaluate(other, on_event=hear)
    assert set(asked) == {"pages"}


def test_pages_need_a_corpus(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="corpora: films has none, and pages looks at its pages; add one"):
        read_eval_config(write_config(tmp_path, systems=SYSTEMS[1:2]))
