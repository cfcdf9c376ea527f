"""The synthetic task, and that a cell of it learns through the head where there is one."""

from __future__ import annotations

import pytest
import torch

from webrec.eval import head_learning as task


def test_prompts_hold_one_left_and_one_right_token_far_apart() -> None:
    ids, answers = task.draw(500, torch.Generator().manual_seed(0))
    assert ids.shape == (500, task.TOKENS + 1)
    assert (ids[:, -1] == task.QUESTION).all()
    order = set()
    for row, answer in zip(ids.tolist(), answers.tolist(), strict=True):
        told = [(place, token) for place, token in enumerate(row[:-1]) if token < task.NOISE]
        assert len(told) == 2
        (first, one), (second, other) = told
        assert second - first >= task.TOKENS // 3
        left, right = min(one, other), max(one, other) - task.RIGHT
        assert 0 <= left < task.RIGHT <= max(one, other) < task.ANSWERS
        assert answer == task.CLASSES * left + right
        order.add(one < other)
    assert order == {True, False}
    assert len(answers.unique()) == task.CLASSES**2


def test_head_only_path_leaves_the_head_alone() -> None:
    """Cut off, the model alone gives the same answer to every prompt; with an open gate it does not."""
    from webrec.models.mp_head.model import set_gates

    ids, _ = task.draw(20, torch.Generator().manual_seed(1))
    alone = task.answer_logits(task.build(None, 0).eval(), ids, "head only")
    torch.testing.assert_close(alone, alone[:1].expand_as(alone))
    adapted = task.build(task.HEADS["pairwise, k = N"], 0).eval()
    assert adapted.head is not None
    torch.testing.assert_close(task.answer_logits(adapted, ids, "head only"), alone)
    set_gates(adapted.head, 1.0)
    assert task.answer_logits(adapted, ids, "head only").std(0).max() > 1e-3


@pytest.mark.slow
def test_the_head_carries_the_answer_and_the_model_alone_cannot() -> None:
    through = task.learn(task.HEADS["pairwise, k = N"], "head only", 50, steps=300)
    without = task.learn(None, "head only", 50, steps=50)
    assert through["accuracy"] > 0.2  # one of the two found: 0.25; chance: 0.06
    assert without["accuracy"] < 0.11
    assert without["head_parameters"] == 0
