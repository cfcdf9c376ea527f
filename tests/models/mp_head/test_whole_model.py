"""A LLaMA with the head attached computes what the layers by hand compute, for every position and number of rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from .attached import HEADS, TUNINGS, Attached, attach, before, load, tokens

ROPES: dict[str, dict[str, Any]] = {
    "linear": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0},
    "llama3": {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    },
    "yarn": {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 16},
}


def assert_by_hand(attached: Attached, ids: Tensor, prompt: int, tolerance: float = 1e-8) -> None:
    mask = before(ids.shape[1], prompt)
    found = attached.logits(ids, node_mask=torch.tensor([mask] * len(ids)))
    for row, row_ids in zip(found, ids.tolist(), strict=True):
        torch.testing.assert_close(row, attached.by_hand(row_ids, mask), rtol=0, atol=tolerance)


@pytest.mark.parametrize("tuning", TUNINGS)
@pytest.mark.parametrize("head", HEADS)
def test_logits_by_hand(tiny_llama: Path, head: str, tuning: str) -> None:
    attached = attach(load(tiny_llama), tuning, **HEADS[head])
    ids = tokens(attached.llama, 2, 14)
    assert_by_hand(attached, ids, prompt=9)
    with_head = attached.logits(ids)
    attached.head.detach()
    assert (with_head - attached.logits(ids)).abs().max() > 0.1  # the head does something


@pytest.mark.parametrize("layers", [(0,), (1,), (2,), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("kind", ["literal", "pairwise"])
def test_any_layers(tiny_sentencepiece: Path, kind: str, layers: tuple[int, ...]) -> None:
    attached = attach(load(tiny_sentencepiece), kind=kind, layers=layers, top_k=4)
    assert_by_hand(attached, tokens(attached.llama, 1, 10), prompt=7)


@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize("rope", ROPES)
def test_rotary_variants(tiny_sentencepiece: Path, rope: str, rotary: bool) -> None:
    llama = load(tiny_sentencepiece, rope_parameters=ROPES[rope])
    assert llama.model.rotary_emb.rope_type == rope
    attached = attach(llama, layers=(0, 2), top_k=6, rotary=rotary)
    assert_by_hand(attached, tokens(llama, 1, 24), prompt=20)


@pytest.mark.parametrize(("attention", "tolerance"), [("sdpa", 1e-8), ("eager", 1e-4)])  # eager: softmax in float32
def test_one_token_and_all_tokens_as_prompt(tiny_llama: Path, attention: str, tolerance: float) -> None:
    attached = attach(load(tiny_llama, attention=attention), **HEADS["others"])
    for length, prompt in ((1, 1), (6, 6), (6, 1), (6, 0)):
        assert_by_hand(attached, tokens(attached.llama, 2, length, seed=length), prompt, tolerance)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("tuning", TUNINGS)
def test_padding_and_other_rows_change_nothing(tiny_llama: Path, tuning: str, side: str) -> None:
    """Rows of different lengths in one batch, against each alone; their nodes are the attended tokens."""
    attached = attach(load(tiny_llama), tuning, **HEADS["pairwise"])
    lengths, longest = [3, 8, 11, 1], 11
    ids = tokens(attached.llama, 4, longest)
    place = torch.arange(longest)
    real = torch.stack([place >= longest - n if side == "left" else place < n for n in lengths])
    found = attached.logits(ids, attention_mask=real.long())
    for row, is_real in enumerate(real):
        mine = ids[row][is_real].tolist()
        padding = longest - len(mine) if side == "left" else 0
        expected = attached.by_hand(mine, [True] * len(mine), padding)
        torch.testing.assert_close(found[row][is_real], expected, rtol=0, atol=1e-8)


def test_nodes_of_a_fresh_pass(tiny_llama: Path) -> None:
    """Without a mask every attended token is a node; with labels, those before the first label."""
    attached = attach(load(tiny_llama), **HEADS["literal"])
    ids = tokens(attached.llama, 2, 9)
    everything = torch.ones(2, 9, dtype=torch.bool)
    assert torch.equal(attached.logits(ids), attached.logits(ids, node_mask=everything))
    labels, mask = ids.clone(), everything.clone()
    labels[0, :4], labels[1, :6] = -100, -100
    labels[1, 7] = -100  # an unscored token within the answer is no prompt
    mask[0, 4:], mask[1, 6:] = False, False
    by_labels = attached.logits(ids, labels=labels)
    torch.testing.assert_close(by_labels, attached.logits(ids, node_mask=mask), rtol=0, atol=1e-12)
    attended = torch.ones(2, 9, dtype=torch.long)
    attended[0, :2] = 0
    mask[0, :2] = False
    padded = attached.logits(ids, labels=labels, attention_mask=attended)
    expected = attached.logits(ids, node_mask=mask, attention_mask=attended)
    torch.testing.assert_close(padded[0, 2:], expected[0, 2:], rtol=0, atol=1e-12)


def test_labels_mark_the_prompt_under_a_soft_prompt(tiny_llama: Path) -> None:
    attached = attach(load(tiny_llama), "prompt", **HEADS["literal"])
    ids = tokens(attached.llama, 1, 9)
    labels = ids.clone()
    labels[0, :5] = -100
    expected = attached.by_hand(ids[0].tolist(), before(9, 5))
    torch.testing.assert_close(attached.logits(ids, labels=labels)[0], expected, rtol=0, atol=1e-8)


def test_the_decoder_alone_takes_a_node_mask(tiny_llama: Path) -> None:
    attached = attach(load(tiny_llama), **HEADS["literal"])
    ids = tokens(attached.llama, 1, 9)
    mask = torch.tensor([before(9, 5)])
    with torch.no_grad():
        hidden = attached.llama.model(ids, node_mask=mask).last_hidden_state
        logits = attached.llama.lm_head(hidden)
    torch.testing.assert_close(logits[0], attached.by_hand(ids[0].tolist(), mask[0].tolist()), rtol=0, atol=1e-8)


@pytest.mark.parametrize("head", ["literal", "pairwise"])
def test_smaller_formats_stay_near(tiny_llama: Path, head: str) -> None:
    ids = tokens(load(tiny_llama), 2, 14)
    mask = torch.tensor([before(14, 9)] * 2)
    # All prompt tokens are kept, so that rounding cannot change which are.
    exact = attach(load(tiny_llama), **HEADS[head] | {"top_k": None}).logits(ids, node_mask=mask)
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.bfloat16, 0.1)):
        attached = attach(load(tiny_llama, dtype), **HEADS[head] | {"top_k": None})
        assert {parameter.dtype for parameter in attached.head.parameters()} == {torch.float32}
        found = attached.logits(ids, node_mask=mask)
        assert found.dtype == dtype
        near = (found.double() - exact).norm() / exact.norm()
        assert near < tolerance
