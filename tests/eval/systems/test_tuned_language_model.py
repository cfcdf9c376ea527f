"""Fine-tuning inside an evaluation: it learns what can be learnt, is the same as `webrec train`, and goes on where it stopped."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from webrec.errors import ConfigurationError
from webrec.eval import run_folder
from webrec.eval.metrics.ranking import metric_values, ndcg, target_ranks
from webrec.eval.systems import kept_training
from webrec.eval.systems.config import LanguageModelConfig
from webrec.eval.systems.language_model import LanguageModel
from webrec.eval.systems.system import answers
from webrec.eval.systems.tuned_language_model import TuneConfig, TunedLanguageModel, some_candidates
from webrec.eval.train_config import PromptConfig
from webrec.models.config import BackboneConfig, ScoreBy
from webrec.models.mp_head.config import MPHeadConfig
from webrec.models.training.config import TrainingConfig

from .contract import EXAMPLES, TRAINING

pytest.importorskip("peft")


@pytest.fixture(scope="module")
def backbone(request: pytest.FixtureRequest) -> BackboneConfig:
    folder: Path = request.getfixturevalue("tiny_bytes")
    return BackboneConfig(backbone=str(folder), dtype="float32", device="cpu")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBREC_CACHE", str(tmp_path / "cache"))
    for module in (run_folder, kept_training):  # what uncommitted code trains is not kept
        monkeypatch.setattr(module, "source_commit", lambda: "c0ffee")


def tuned(backbone: BackboneConfig, folder: Path, standardise: bool = False, **settings: Any) -> TunedLanguageModel:
    training = {"epochs": 2, "batch_size": 4, "warmup_steps": 1, "validate_every": 4, "checkpoint_every": 2, **settings}
    tune = TuneConfig(
        head=MPHeadConfig(kind="pairwise", layers=(1,), top_k=16, standardise=standardise),
        training=TrainingConfig(**training),
        validation_examples=6,
    )
    return TunedLanguageModel(backbone, PromptConfig(), tune, folder, EXAMPLES[:16], EXAMPLES[16:40])


@pytest.mark.parametrize("standardise", [False, True])
def test_it_is_trained_and_goes_on_where_it_stopped(
    backbone: BackboneConfig, tmp_path: Path, standardise: bool
) -> None:
    events: list[str] = []
    system = tuned(backbone, tmp_path / "a", standardise)
    system._on_event = lambda event: events.append(event["event"])
    system.fit(TRAINING, 3)
    assert events.count("step") == 8
    assert ("measuring" in events) is standardise
    assert len((tmp_path / "a" / "valid.jsonl").read_text().splitlines()) == 6
    assert json.loads((tmp_path / "a" / "run" / "run.json").read_text())["seeds"]["training"] == 3
    plain = LanguageModel(backbone, PromptConfig())
    plain.fit(TRAINING, 0)
    given = answers(system, EXAMPLES[40:44])
    assert [a.scores for a in given] != [a.scores for a in answers(plain, EXAMPLES[40:44])]
    again = tuned(backbone, tmp_path / "a", standardise)
    again._on_event = lambda event: events.append(f"again {event['event']}")
    again.fit(TRAINING, 3)
    assert "again step" not in events  # it was finished
    assert [a.scores for a in answers(again, EXAMPLES[40:44])] == [a.scores for a in given]
    shutil.rmtree(tmp_path / "cache")  # or nothing would be left to train
    stopped = tuned(backbone, tmp_path / "b", standardise)
    stopped._on_event = stop_at(5)
    with pytest.raises(KeyboardInterrupt):
        stopped.fit(TRAINING, 3)
    resumed = tuned(backbone, tmp_path / "b", standardise)
    steps: list[int] = []
    resumed._on_event = lambda event: steps.append(event["step"]) if event["event"] == "step" else None
    resumed.fit(TRAINING, 3)
    assert steps
    assert steps[0] > 1
    assert [a.scores for a in answers(resumed, EXAMPLES[40:44])] == [a.scores for a in given]


def test_another_run_does_not_train_the_same_again(
    backbone: BackboneConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(folder: str, seed: int = 3, **settings: Any) -> tuple[list[str], list[tuple[float, ...]]]:
        heard: list[str] = []
        system = tuned(backbone, tmp_path / folder, **settings)
        system._on_event = lambda event: heard.append(event["event"])
        system.fit(TRAINING, seed)
        return heard, [a.scores for a in answers(system, EXAMPLES[40:43])]

    first, scores = train("a")
    assert "step" in first
    assert "trained_before" not in first
    again, same = train("b")
    assert again == ["trained_before", "finished"]
    assert same == scores
    told = json.loads((tmp_path / "b" / "run" / "run.json").read_text())
    assert told["starts"] == json.loads((tmp_path / "a" / "run" / "run.json").read_text())["starts"]
    for heard, other in (train("c", seed=4), train("d", learning_rate=0.01)):
        assert "step" in heard
        assert other != scores
    shutil.rmtree(tmp_path / "cache" / "trainings")
    told["starts"][0]["versions"]["torch"] = "another"
    (tmp_path / "a" / "run" / "run.json").write_text(json.dumps(told))
    assert "step" not in train("a")[0]
    assert not (tmp_path / "cache" / "trainings").exists(), "other libraries' work is not kept under the name of these"
    with monkeypatch.context() as patch:
        patch.setattr(kept_training, "source_commit", lambda: "c0ffee+changes")
        train("uncommitted", seed=5)
        assert not (tmp_path / "cache" / "trainings").exists()
    train("e")
    for damaged in (tmp_path / "cache" / "trainings").glob("*/result.json"):
        damaged.write_text("")
    assert "step" in train("f")[0]


def test_training_follows_score_by() -> None:
    with pytest.raises(ValidationError, match=r"tune.training.score_by: it is pmi, and the system's score_by mean"):
        LanguageModelConfig(tune=TuneConfig(training=TrainingConfig(score_by="pmi")))
    both = LanguageModelConfig(score_by="pmi", tune=TuneConfig(training=TrainingConfig(score_by="pmi")))
    assert both.score_by == "pmi"


@pytest.mark.parametrize("by", ["mean", "sum", "pmi"])
def test_it_is_trained_and_chosen_by_what_it_is_scored_by(
    backbone: BackboneConfig, tmp_path: Path, by: ScoreBy
) -> None:
    """The first validation is that of the untrained model, whose NDCG@10 is known."""
    prompt, validating = PromptConfig(prompt_form="next"), EXAMPLES[16:40]
    tune = TuneConfig(training=TrainingConfig(epochs=1), validation_examples=24)
    system = TunedLanguageModel(backbone, prompt, tune, tmp_path, EXAMPLES[:8], validating, by)
    heard: list[dict[str, Any]] = []
    system._on_event = heard.append
    system.fit(TRAINING, 0)
    plain = LanguageModel(backbone, prompt, by)
    plain.fit(TRAINING, 0)
    ranks = target_ranks(plain.rank_many(validating), [e.candidates.index(e.target) for e in validating])
    first = next(event for event in heard if event["event"] == "validation")
    assert first["ndcg10"] == pytest.approx(float(ndcg(ranks, 10).mean()), abs=1e-9)
    told = json.loads((tmp_path / "run" / "adapter" / "prompt.json").read_text())
    assert told == {"history_items": 10, "title_words": None, "prompt_form": "next", "score_by": by}
    assert ("anyones" in {event["event"] for event in heard}) is (by == "pmi")


def stop_at(step: int) -> Any:
    def hear(event: dict[str, Any]) -> None:
        if event["event"] == "step" and event["step"] == step:
            raise KeyboardInterrupt

    return hear


@pytest.mark.slow
def test_it_learns(backbone: BackboneConfig, tmp_path: Path) -> None:
    system, plain = (
        tuned(backbone, tmp_path, epochs=40, learning_rate=5e-3, patience=100),
        LanguageModel(backbone, PromptConfig()),
    )
    system.fit(TRAINING, 0)
    plain.fit(TRAINING, 0)

    def value(asked: LanguageModel) -> float:
        ranks = target_ranks(asked.rank_many(EXAMPLES[:16]), [e.candidates.index(e.target) for e in EXAMPLES[:16]])
        return float(metric_values(ranks)["ndcg@10"].mean())

    assert value(system) > value(plain) + 0.2  # on what it was trained on: a tiny random LLaMA can learn that by heart


def test_nothing_to_learn_from(backbone: BackboneConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="tuning_examples: a system is fine-tuned and there are none"):
        TunedLanguageModel(backbone, PromptConfig(), TuneConfig(), tmp_path, [], [])


def test_a_training_example_may_have_fewer_candidates() -> None:
    example = EXAMPLES[0]
    some = some_candidates(example, 3)
    assert len(some) == 3
    assert example.target in some
    assert some == [item_id for item_id in example.candidates if item_id in some]
    assert some == some_candidates(example, 3)
    assert some_candidates(example, None) == some_candidates(example, 999) == list(example.candidates)
    others = {item_id for e in EXAMPLES for item_id in some_candidates(e, 2) if item_id != e.target}
    assert len(others) > 3  # not the same one always


def test_training_files_hold_some_candidates_and_validation_all(backbone: BackboneConfig, tmp_path: Path) -> None:
    tune = TuneConfig(candidates=3, validation_examples=2, training=TrainingConfig(epochs=1, batch_size=4))
    system = TunedLanguageModel(backbone, PromptConfig(), tune, tmp_path, EXAMPLES[:4], EXAMPLES[16:20])
    system.fit(TRAINING, 0)
    counts = {
        name: {len(json.loads(line)["candidates"]) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()}
        for name in ("train", "valid")
    }
    assert counts == {"train": {3}, "valid": {len(EXAMPLES[16].candidates)}}
