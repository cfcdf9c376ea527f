"""Checkpoints that are damaged, of another adapter, or in the way; and what a run says when it stops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from webrec.errors import ConfigurationError
from webrec.models.adapter import AdaptedLlama
from webrec.models.training.config import TrainingConfig
from webrec.models.training.loop import TrainingResult, train

from .worker import numbers, task, tiny_adapted

CONFIG = TrainingConfig(
    epochs=2, batch_size=4, micro_batch=2, warmup_steps=2, validate_every=4, checkpoint_every=3, patience=50
)
HEAD = {"layers": (1,), "top_k": 6}


class Killed(Exception):
    pass


def run(output: Path, adapted: AdaptedLlama | None = None, kill_at: int = 0, **changes: Any) -> list[dict[str, Any]]:
    """Train, killed after a step or to the end; returns the events."""
    events: list[dict[str, Any]] = []

    def watch(event: dict[str, Any]) -> None:
        events.append(event)
        if kill_at and event["event"] == "step" and event["step"] == kill_at:
            raise Killed

    chosen = adapted or tiny_adapted(dropout=0.1)
    config = CONFIG.model_copy(update=changes)
    try:
        train(chosen, task(18, 1), task(6, 2), config, output, fingerprint={}, on_event=watch)
    except Killed:
        assert kill_at
    return events


def resumed_at(events: list[dict[str, Any]]) -> list[int]:
    return [e["step"] for e in events if e["event"] == "resumed"]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 0x40
    path.write_bytes(content)


@pytest.mark.parametrize("keep", [1, 2])
def test_a_damaged_newest_one_does_not_push_out_good_ones(tmp_path: Path, keep: int) -> None:
    run(tmp_path, kill_at=8, keep_checkpoints=keep)
    for state in (tmp_path / "checkpoints").glob("*/state.safetensors"):
        flip(state)
    assert resumed_at(run(tmp_path, kill_at=5, keep_checkpoints=keep)) == []
    assert resumed_at(run(tmp_path, keep_checkpoints=keep)) == [3]
    assert len(list((tmp_path / "checkpoints").iterdir())) == keep


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    run(tmp_path / "unbroken")
    run(tmp_path / "flipped", kill_at=8)
    flip(tmp_path / "flipped" / "checkpoints" / "step-0000006" / "state.safetensors")
    assert resumed_at(run(tmp_path / "flipped")) == [3]
    assert numbers(tmp_path / "flipped") == numbers(tmp_path / "unbroken")


@pytest.mark.parametrize("state", ["[]", '{"progress": {"step": 6}}', '{"progress": {"step": 6}, "fingerprint": null}'])
def test_json_of_another_form_is_passed_over(tmp_path: Path, state: str) -> None:
    run(tmp_path, kill_at=8)
    (tmp_path / "checkpoints" / "step-0000006" / "state.json").write_text(state)
    assert resumed_at(run(tmp_path)) == [3]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"tuning": "soft_prompt"}),
        ({}, {"head": HEAD}),
        ({"head": HEAD}, {}),  # leaving something out is a change too
        ({"head": HEAD}, {"head": {**HEAD, "hops": 2}}),
    ],
)
def test_a_checkpoint_of_another_adapter_is_refused(
    tmp_path: Path, before: dict[str, Any], after: dict[str, Any]
) -> None:
    run(tmp_path, tiny_adapted(**before), kill_at=5)
    with pytest.raises(ConfigurationError, match=r"output: .* is of another adapter \(.* differs\); give another"):
        run(tmp_path, tiny_adapted(**after))


def test_a_result_cut_off_in_writing_is_written_again(tmp_path: Path) -> None:
    run(tmp_path)
    whole = (tmp_path / "result.json").read_text()
    (tmp_path / "result.json").write_text(whole[:20])
    assert resumed_at(run(tmp_path)) == [10]
    assert (tmp_path / "result.json").read_text() == whole


def test_stopping_early_is_told_and_survives_a_kill(tmp_path: Path) -> None:
    changes = {"patience": 2, "learning_rate": 1e-12, "epochs": 9}
    events = run(tmp_path / "unbroken", **changes)
    assert events[-1] == {"event": "stopped_early", "step": 8, "steps": 45}
    for kill_at in (1, 4, 7, 8):
        killed = tmp_path / str(kill_at)
        run(killed, kill_at=kill_at, **changes)
        run(killed, **changes)
        assert numbers(killed) == numbers(tmp_path / "unbroken")
        assert (killed / "result.json").read_text() == (tmp_path / "unbroken" / "result.json").read_text()
    assert "stopped_early" not in {e["event"] for e in run(tmp_path / "to the end")}


def test_fewer_examples_than_a_batch(tmp_path: Path) -> None:
    result = train(tiny_adapted(), task(2, 1), task(1, 2), TrainingConfig(epochs=3), tmp_path, fingerprint={})
    assert isinstance(result, TrainingResult)
    assert result.steps == 3
