"""The loop: it learns, resumes to the same numbers, refuses what is another run's."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from webrec.errors import ConfigurationError, TrainingError
from webrec.models.adapter import AdaptedLlama
from webrec.models.backbone import Backbone, get_backbone, sharing_weights
from webrec.models.config import BackboneConfig, LoraTuning, SoftPromptTuning
from webrec.models.mp_head.config import MPHeadConfig
from webrec.models.packing import EncodedExample
from webrec.models.training.config import TrainingConfig
from webrec.models.training.loop import TrainingResult, train
from webrec.models.training.metrics import read_metrics

CONFIG = TrainingConfig(
    epochs=2, batch_size=4, micro_batch=2, warmup_steps=2, validate_every=4, checkpoint_every=3, patience=50
)
HEAD = MPHeadConfig(kind="pairwise", layers=(1,), top_k=8)
DROPOUT = LoraTuning(dropout=0.1)


def task(count: int, seed: int) -> list[EncodedExample]:
    """The taken candidate is the one whose only token the prompt names: easily learnt, and not known before."""
    draw = random.Random(seed)
    made = []
    for number in range(count):
        candidates = draw.sample(range(300, 400), 5)
        target = draw.randrange(5)
        prompt = draw.choices(range(10, 200), k=12)
        prompt[draw.randrange(12)] = candidates[target]
        made.append(EncodedExample(f"user {number}", prompt, [[c] for c in candidates], target))
    return made


@pytest.fixture
def tiny(tiny_bytes: Path) -> Backbone:
    return get_backbone(BackboneConfig(backbone=str(tiny_bytes), dtype="float32"))


def run(tiny: Backbone, output: Path, config: TrainingConfig = CONFIG, **options: Any) -> TrainingResult:
    adapted = options.pop("adapted", None) or AdaptedLlama.new(
        sharing_weights(tiny.model), DROPOUT, HEAD, seed=config.seed
    )
    options = {"fingerprint": {"data": "task"}, **options}
    return train(adapted, task(18, 1), task(6, 2), config, output, **options)


def numbers(output: Path) -> list[dict[str, Any]]:
    """What the metrics say, less the times."""
    timed = ("seconds", "examples_per_second", "tokens_per_second")
    return [{k: v for k, v in row.items() if k not in timed} for row in read_metrics(output / "metrics.jsonl")]


class Killed(Exception):
    pass


def test_metrics_checkpoints_and_result(tiny: Backbone, tmp_path: Path) -> None:
    result = run(tiny, tmp_path)
    rows = numbers(tmp_path)
    assert result.steps == 10  # two epochs of five batches, the last one of two examples
    assert [r["step"] for r in rows if r["kind"] == "step"] == list(range(1, 11))
    assert [r["step"] for r in rows if r["kind"] == "validation"] == [0, 4, 8, 10]
    assert all(r["learning_rate"] > 0 for r in rows if r["kind"] == "step")
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["step-0000009", "step-0000010"]
    best = min((r for r in rows if r["kind"] == "validation"), key=lambda r: r["loss"])
    assert (result.kept_step, result.kept_loss, result.kept_ndcg10) == (best["step"], best["loss"], best["ndcg10"])
    assert list((tmp_path / "tensorboard").iterdir())
    assert {p.suffix for p in (tmp_path / "checkpoints").rglob("*") if p.is_file()} == {".json", ".safetensors"}
    again = run(tiny, tmp_path)
    assert again == result
    assert numbers(tmp_path) == rows


@pytest.mark.parametrize("by", ["loss", "ndcg10"])
def test_the_adapter_kept_is_the_best_one(tiny: Backbone, tmp_path: Path, by: str) -> None:
    from webrec.models.training.validate import validate

    config = CONFIG.model_copy(update={"epochs": 6, "learning_rate": 0.02, "best_by": by})
    result = run(tiny, tmp_path, config)
    loaded = AdaptedLlama.from_pretrained(sharing_weights(tiny.model), tmp_path / "adapter")
    found = validate(loaded, task(6, 2), CONFIG)
    assert (found.ndcg10, found.loss) == pytest.approx((result.kept_ndcg10, result.kept_loss), rel=1e-4)
    seen = [r for r in numbers(tmp_path) if r["kind"] == "validation"]
    best = min(seen, key=lambda r: r["loss"]) if by == "loss" else max(seen, key=lambda r: r["ndcg10"])
    assert result.kept_step == best["step"]
    assert len({r["loss"] for r in seen}) == len(seen)


@pytest.mark.parametrize("tuning", ["lora", "soft_prompt"])
def test_it_learns(tiny: Backbone, tmp_path: Path, tuning: str) -> None:
    chosen = LoraTuning() if tuning == "lora" else SoftPromptTuning(kind="soft_prompt", tokens=4)
    adapted = AdaptedLlama.new(sharing_weights(tiny.model), chosen, MPHeadConfig(kind="pairwise", layers=(1,)))
    config = TrainingConfig(epochs=12, learning_rate=1e-2, validate_every=20, batch_size=4, micro_batch=4)
    run(tiny, tmp_path, config, adapted=adapted)
    lost = [r["loss"] for r in numbers(tmp_path) if r["kind"] == "step"]
    assert sum(lost[-5:]) < 0.6 * sum(lost[:5])
    assert adapted.head is not None
    assert all(float(g.detach()) != 0 for g in adapted.head.gates())


@pytest.mark.parametrize("kill_at", range(1, 11))
def test_killed_and_resumed_equals_unbroken(tiny: Backbone, tmp_path: Path, unbroken: Path, kill_at: int) -> None:
    def kill(event: dict[str, Any]) -> None:
        if event["event"] == "step" and event["step"] == kill_at:
            raise Killed

    with pytest.raises(Killed):
        run(tiny, tmp_path, on_event=kill)
    resumed: list[int] = []
    run(tiny, tmp_path, on_event=lambda e: resumed.append(e["step"]) if e["event"] == "resumed" else None)
    assert resumed == [(kill_at - 1) // 3 * 3]
    assert numbers(tmp_path) == numbers(unbroken)
    for part in ("adapter", "adapter/peft"):
        name = f"{part}/adapter_model.safetensors"
        assert (tmp_path / name).read_bytes() == (unbroken / name).read_bytes()


@pytest.fixture(scope="module")
def unbroken(tiny_bytes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("unbroken")
    run(get_backbone(BackboneConfig(backbone=str(tiny_bytes), dtype="float32")), output)
    return output


def test_stopped_by_the_user_writes_a_checkpoint(tiny: Backbone, tmp_path: Path, unbroken: Path) -> None:
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) == 5

    with pytest.raises(KeyboardInterrupt):
        run(tiny, tmp_path, stop=stop)
    assert (tmp_path / "checkpoints" / "step-0000005").is_dir()
    run(tiny, tmp_path)
    assert numbers(tmp_path) == numbers(unbroken)


@pytest.mark.parametrize("harm", ["no state", "broken tensors", "broken state", "still being written"])
def test_a_damaged_checkpoint_is_passed_over(tiny: Backbone, tmp_path: Path, unbroken: Path, harm: str) -> None:
    with pytest.raises(Killed):
        run(tiny, tmp_path, on_event=_killer(8))
    newest = tmp_path / "checkpoints" / "step-0000006"
    if harm == "no state":
        (newest / "state.json").unlink()
    elif harm == "broken tensors":
        path = newest / "state.safetensors"
        path.write_bytes(path.read_bytes()[:-100])
    elif harm == "broken state":
        (newest / "state.json").write_text('{"progress": {')
    else:
        newest.rename(newest.with_name("step-0000006.filling"))
    run(tiny, tmp_path)
    assert numbers(tmp_path) == numbers(unbroken)


def _killer(step: int) -> Callable[[dict[str, Any]], None]:
    def kill(event: dict[str, Any]) -> None:
        if event["event"] == "step" and event["step"] == step:
            raise Killed

    return kill


def test_a_row_cut_off_in_writing_is_dropped(tiny: Backbone, tmp_path: Path, unbroken: Path) -> None:
    with pytest.raises(Killed):
        run(tiny, tmp_path, on_event=_killer(8))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "step", "step": 9, "lo')
    run(tiny, tmp_path)
    assert numbers(tmp_path) == numbers(unbroken)


def test_another_runs_checkpoint_is_refused(tiny: Backbone, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(tiny, tmp_path, on_event=_killer(4))
    with pytest.raises(ConfigurationError, match=r"output: .*\(data is 'task' there and 'other' now\)"):
        run(tiny, tmp_path, fingerprint={"data": "other"})
    with pytest.raises(ConfigurationError, match=r"\(batch_size is 4 there and 8 now\)"):
        run(tiny, tmp_path, CONFIG.model_copy(update={"batch_size": 8}))


def test_a_replacement_killed_between_its_renames_is_finished(tiny: Backbone, tmp_path: Path, unbroken: Path) -> None:
    with pytest.raises(Killed):
        run(tiny, tmp_path, on_event=_killer(5))
    (tmp_path / "adapter").rename(tmp_path / "adapter.new")
    shutil.copytree(tmp_path / "adapter.new", tmp_path / "adapter.old")
    run(tiny, tmp_path)
    name = "adapter/adapter_model.safetensors"
    assert (tmp_path / name).read_bytes() == (unbroken / name).read_bytes()


def test_accumulation_is_one_big_batch(tiny: Backbone, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"epochs": 1})
    for micro in (1, 3, 4):
        adapted = AdaptedLlama.new(sharing_weights(tiny.model), LoraTuning(), HEAD)
        run(tiny, tmp_path / str(micro), config.model_copy(update={"micro_batch": micro}), adapted=adapted)
    lost = [[r["loss"] for r in numbers(tmp_path / str(micro)) if r["kind"] == "step"] for micro in (1, 3, 4)]
    assert lost[1] == pytest.approx(lost[0], rel=1e-4)
    assert lost[2] == pytest.approx(lost[0], rel=1e-4)


@pytest.mark.parametrize("by", ["loss", "ndcg10"])
def test_early_stopping(tiny: Backbone, tmp_path: Path, by: str) -> None:
    rates = {"learning_rate": 1e-12, "gate_learning_rate": 1e-12}
    config = CONFIG.model_copy(update={**rates, "patience": 2, "epochs": 9, "best_by": by})
    result = run(tiny, tmp_path, config)
    assert result.stopped_early
    assert (result.kept_step, result.steps) == (0, 8)  # validated at 0, 4 and 8


@pytest.mark.parametrize(
    ("when", "message"), [("validation", r"step 1 .*user \d+.*learning_rate"), ("start", "valid: ")]
)
def test_a_loss_that_is_no_number_stops_the_run(tiny: Backbone, tmp_path: Path, when: str, message: str) -> None:
    adapted = AdaptedLlama.new(sharing_weights(tiny.model), LoraTuning(), None)

    def spoil(event: dict[str, Any]) -> None:
        if event["event"] == when:
            with torch.no_grad():
                next(iter(adapted.trained().values())).fill_(torch.nan)

    spoil({"event": "start"})
    with pytest.raises(TrainingError, match=message):
        run(tiny, tmp_path, adapted=adapted, on_event=spoil)


def test_nothing_to_train_on(tiny: Backbone, tmp_path: Path) -> None:
    adapted = AdaptedLlama.new(sharing_weights(tiny.model), LoraTuning(), None)
    with pytest.raises(ConfigurationError, match="train: "):
        train(adapted, [], task(2, 0), CONFIG, tmp_path, fingerprint={})
    with pytest.raises(ConfigurationError, match="valid: "):
        train(adapted, task(2, 0), [], CONFIG, tmp_path, fingerprint={})


def test_the_caller_s_random_numbers_are_left_alone(tiny: Backbone, tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run(tiny, tmp_path)
    assert torch.equal(torch.rand(3), expected)


def test_bfloat16_backbone(tiny_bytes: Path, tmp_path: Path) -> None:
    half = get_backbone(BackboneConfig(backbone=str(tiny_bytes), dtype="bfloat16"))
    run(half, tmp_path, CONFIG.model_copy(update={"epochs": 1}))
    state = json.loads((tmp_path / "result.json").read_text())
    assert state["result"]["steps"] == 5
