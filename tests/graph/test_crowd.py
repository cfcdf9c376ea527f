"""The crowd as one more source: a prior on the scores, off by default, unknown candidates told apart."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from langgraph.checkpoint.memory import InMemorySaver

pytest.importorskip("pyarrow")
import numpy as np

from webrec.api import arecommend
from webrec.cli.main import main
from webrec.errors import ConfigurationError
from webrec.eval.data.dataset import RankingExample
from webrec.eval.systems import learned_similarity
from webrec.eval.systems.learned_similarity import LearnedSimilaritySystem
from webrec.graph.build import build_graph
from webrec.nodes.schema import Recommendation
from webrec.tools.crowd.saved import load_crowd, save_crowd

from ..crowds import CROWD  # noqa: TID252
from ..worlds import chained, dataset, write_dataset  # noqa: TID252

CANDIDATES = ["Thing i20", "Wool scarf", "Thing i07", "Thing i41"]
HISTORY = ["Thing i04", "Thing i05", "Thing i06"]


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Users who go from thing n to thing n + 1, counted and weighed by the command."""
    folder = tmp_path_factory.mktemp("crowd")
    write_dataset(folder / "data", dataset(chained(users=200, length=6)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WEBREC_CACHE", str(folder / "cache"))
        arguments = ["crowd", str(folder / "data"), "--output", str(folder / "made"), "--min-interactions", "0"]
        done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert "200 users, 60 items" in done.output
    return folder / "made"


def recommend(backbone: Path, **settings: Any) -> tuple[list[str], Recommendation]:
    events: list[dict[str, Any]] = []
    settings = {"backbone": str(backbone), "dtype": "float32", "retrieval": False, **settings}
    result = asyncio.run(arecommend(HISTORY, CANDIDATES, on_progress=events.append, **settings))
    return [e["node"] for e in events if e["event"] == "started"], result


def test_a_prior_is_added_and_what_the_crowd_does_not_know_keeps_its_score(tiny_bytes: Path, crowd: Path) -> None:
    nodes, plain = recommend(tiny_bytes)
    assert nodes[-1] == "score"
    assert plain.crowd is None
    assert all(c.crowd is None and c.fused is None for c in plain.ranking)
    nodes, result = recommend(tiny_bytes, crowd=str(crowd), crowd_weight=3.0)
    assert nodes[-1] == "fuse"
    assert result.crowd is not None
    assert (result.crowd.users, result.crowd.items) == (200, 60)
    assert (result.crowd.history_known, result.crowd.candidates_known) == (3, 3)
    by_title = {c.title: c for c in result.ranking}
    for before in plain.ranking:
        after = by_title[before.title]
        assert after.score == before.score
        assert after.fused == pytest.approx(before.score + 3.0 * (after.crowd or 0.0))
    assert by_title["Wool scarf"].crowd is None
    assert by_title["Wool scarf"].fused == by_title["Wool scarf"].score
    assert sum(c.crowd for c in result.ranking if c.crowd is not None) == pytest.approx(0, abs=1e-9)
    assert result.ranking[0].title == "Thing i07", "what comes after the last thing"
    assert [c.rank for c in result.ranking] == [1, 2, 3, 4]
    assert [c.fused for c in result.ranking] == sorted((c.fused for c in result.ranking), reverse=True)  # type: ignore[type-var]
    assert sum(c.probability for c in result.ranking) == pytest.approx(1)


class Characters:
    """A unit vector for each text, by its characters."""

    def encode(self, texts: Sequence[str]) -> Any:
        """(texts, 16)."""
        rows = np.stack([np.random.default_rng(list(text.encode())).normal(size=16) for text in texts])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_what_titles_follow_which_is_learned_if_asked(
    tiny_bytes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learned_similarity, "get_sentence_encoder", lambda _: Characters())
    monkeypatch.setattr(learned_similarity, "open_content_store", lambda: None)
    monkeypatch.setenv("WEBREC_CACHE", str(tmp_path / "cache"))
    write_dataset(tmp_path / "data", dataset(chained(users=200, length=6)))
    made, fitted = tmp_path / "made", []
    fit = LearnedSimilaritySystem.fit

    def remembered(self: LearnedSimilaritySystem, *given: Any) -> None:
        fit(self, *given)
        fitted.append(self)

    monkeypatch.setattr(LearnedSimilaritySystem, "fit", remembered)
    save_crowd(made, CROWD)  # an older one, with what somebody put beside it
    (made / "training").mkdir()
    (made / "training" / "thesis.txt").write_text("mine")
    arguments = ["crowd", str(tmp_path / "data"), "--output", str(made), "--min-interactions", "0", "--similarity"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert "learned_similarity, rank" in done.output
    assert sorted(path.name for path in made.iterdir()) == [
        "crowd.json",
        "items.jsonl.gz",
        "sequences.jsonl.gz",
        "similarity.safetensors",
        "training",
    ]
    assert (made / "training" / "thesis.txt").exists(), "what is not ours stays"
    loaded: list[str] = []

    def encoder(name: str) -> Characters:
        loaded.append(name)
        return Characters()

    monkeypatch.setattr("webrec.models.sentence_encoder.get_sentence_encoder", encoder)
    _, result = recommend(tiny_bytes, crowd=str(made), crowd_weight=3.0, crowd_reads_new=False)
    assert result.crowd is not None
    assert (result.crowd.candidates_known, result.crowd.candidates_read, loaded) == (3, 0, [])
    assert {c.title: c.crowd for c in result.ranking}["Wool scarf"] is None
    before = {c.title: c.crowd for c in result.ranking}
    _, result = recommend(tiny_bytes, crowd=str(made), crowd_weight=3.0)
    assert result.ranking[0].title == "Thing i07"
    assert result.crowd is not None
    assert (result.crowd.candidates_known, result.crowd.candidates_read, loaded) == (3, 1, ["minilm"])
    read = {c.title: c.crowd for c in result.ranking}
    assert read["Wool scarf"] is not None
    assert before["Thing i07"] == pytest.approx(read["Thing i07"], abs=0.5)
    weights = json.loads((made / "crowd.json").read_text())["features"]
    assert weights["learned_similarity"]["weight"] > 0
    # Each item has its own vectors: scores by title are those of the fitted system, to half precision.
    (system,) = fitted
    saved = load_crowd(made)
    assert saved.similarity is not None
    places = {fact.title: saved.records.numbers[item] for item, fact in saved.records.facts.items()}
    titles = [f"Thing i{n:02}" for n in range(0, 60, 7)]
    found = saved.similarity.scores(np.array([places["Thing i33"]]), np.array([places[title] for title in titles]))
    ids = tuple(title.removeprefix("Thing ") for title in titles)
    example = RankingExample("u#0", "u", 0, ("i33",), ids, ids[0])
    assert found.tolist() == pytest.approx(system.rank(example), abs=0.02)


@pytest.mark.parametrize(
    ("history", "candidates", "warning"),
    [
        (["Red boots"], ["Thing i07", "Thing i20"], "the crowd knows no item of the history;"),
        (["Thing i06"], ["Wool scarf"], "the crowd knows none of the candidates, so it changed no score;"),
        (["a"], ["b"], "the crowd knows no item of the history and none of the candidates, so it changed no score;"),
        (["a", "Thing i06"], ["b", "Thing i07"], None),
    ],
)
def test_a_crowd_that_knows_nothing_of_the_request_is_told(
    tiny_bytes: Path, crowd: Path, history: list[str], candidates: list[str], warning: str | None
) -> None:
    settings: dict[str, Any] = {"backbone": str(tiny_bytes), "dtype": "float32", "retrieval": False}
    result = asyncio.run(arecommend(history, candidates, crowd=str(crowd), **settings))
    told = [] if warning is None else [f"{warning} titles must be written as in its data"]
    assert result.warnings == told


def test_a_crowd_that_is_left_out_later_takes_its_warning_along(tiny_bytes: Path, crowd: Path) -> None:
    graph = build_graph(checkpointer=InMemorySaver())
    thread: Any = {"configurable": {"thread_id": "t"}}
    settings: Any = {"backbone": str(tiny_bytes), "dtype": "float32", "retrieval": False, "crowd": str(crowd)}
    request: Any = {"history": ["Red boots"], "candidates": ["Wool scarf", "Garden hose"]}
    assert len(graph.invoke(request, thread, context=settings)["warnings"]) == 1
    graph.update_state(thread, {}, as_node="augment")
    again: Any = {**settings, "crowd": None}
    assert graph.invoke(None, thread, context=again)["warnings"] == [
        "these settings were changed after the run had begun: crowd"
    ]


def test_without_weight_it_changes_no_rank(tiny_bytes: Path, crowd: Path) -> None:
    _, plain = recommend(tiny_bytes)
    _, result = recommend(tiny_bytes, crowd=str(crowd), crowd_weight=0)
    assert [c.title for c in result.ranking] == [c.title for c in plain.ranking]


def test_a_folder_that_is_none_is_refused_before_anything_is_computed(tiny_bytes: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"holds no crowd\.json; give a folder made by webrec crowd"):
        recommend(tiny_bytes, crowd=str(tmp_path))


def test_on_the_command_line(tiny_bytes: Path, crowd: Path, tmp_path: Path) -> None:
    user = tmp_path / "user.json"
    user.write_text(json.dumps({"history": HISTORY, "candidates": CANDIDATES}))
    arguments = ["recommend", str(user), "--backbone", str(tiny_bytes), "--no-retrieval", "--crowd", str(crowd)]
    shown = CliRunner().invoke(main, arguments)
    assert shown.exit_code == 0, shown.output
    assert "200 users; 3 candidates and 3 items of the history known" in shown.output
    assert "unknown" in shown.output
    told = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)
    assert {"score", "crowd", "fused"} <= set(told["ranking"][0])
