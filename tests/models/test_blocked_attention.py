"""Attention in blocks against the whole matrix in float64, values and gradients."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from webrec.models.adapter import AdaptedLlama
from webrec.models.backbone import Backbone, sharing_weights
from webrec.models.blocked_attention import RowBlocks, _Blocked, use_blocks, uses_blocks
from webrec.models.config import LoraTuning
from webrec.models.mp_head.config import MPHeadConfig
from webrec.models.mp_head.model import set_gates
from webrec.models.packing import EncodedExample, candidate_likelihoods, pack


def reference(query: Tensor, key: Tensor, value: Tensor, scaling: float, visible: Tensor) -> Tensor:
    """One head, one row at a time."""
    read = torch.zeros_like(query)
    shared = query.shape[1] // key.shape[1]
    for b in range(query.shape[0]):
        for head in range(query.shape[1]):
            for row in range(query.shape[2]):
                seen = visible[b, row].nonzero()[:, 0]
                logits = key[b, head // shared, seen] @ query[b, head, row] * scaling
                read[b, head, row] = logits.softmax(0) @ value[b, head // shared, seen]
    return read


def case(seed: int, batch: int, length: int, causal: bool) -> tuple[list[Tensor], Tensor]:
    torch.manual_seed(seed)
    made = [torch.randn(batch, heads, length, 8, dtype=torch.float64, requires_grad=True) for heads in (6, 2, 2)]
    visible = torch.rand(batch, length, length) < 0.3
    if causal:
        visible = torch.ones(batch, length, length, dtype=torch.bool).tril()
    return made, visible | torch.eye(length, dtype=torch.bool)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 2), st.integers(1, 20), st.booleans(), st.sampled_from([1, 3, 8, 64]))
def test_values_and_gradients(seed: int, batch: int, length: int, causal: bool, rows: int) -> None:
    (query, key, value), visible = case(seed, batch, length, causal)
    scaling = 1 / math.sqrt(8)
    found = _Blocked.apply(query, key, value, scaling, RowBlocks.of(visible, query.dtype, rows))
    expected = reference(query, key, value, scaling, visible)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    weights = torch.randn_like(found)
    got = torch.autograd.grad((found * weights).sum(), (query, key, value))
    wanted = torch.autograd.grad((expected * weights).sum(), (query, key, value))
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


def test_what_is_dark_is_left_out() -> None:
    visible = torch.ones(1, 300, 300, dtype=torch.bool).tril()
    visible[:, 290:, 250:290] = False  # two candidates that do not see one another
    blocks = RowBlocks.of(visible, torch.float32).blocks
    assert blocks == [(0, 128, 1, 128), (128, 256, 129, 256), (256, 300, 250, 300)]


@pytest.mark.parametrize("head", [None, MPHeadConfig(kind="pairwise", layers=(1,), top_k=6)], ids=["none", "pairwise"])
def test_a_training_step_is_the_same(backbone: Backbone, head: MPHeadConfig | None) -> None:
    draw = torch.Generator().manual_seed(2)

    def ids(count: int) -> list[int]:
        return torch.randint(4, 400, (count,), generator=draw).tolist()

    batch = pack(
        [EncodedExample("a", ids(150), [ids(5), ids(1), ids(9)], 1), EncodedExample("b", ids(40), [ids(7)], 0)]
    )
    found = []
    for blocked in (False, True):
        adapted = AdaptedLlama.new(sharing_weights(backbone.model), LoraTuning(), head, seed=3)
        torch.manual_seed(4)
        for name, parameter in adapted.trained().items():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.2)
        if adapted.head is not None:
            set_gates(adapted.head, 1.0)
        if blocked:
            use_blocks(adapted.llama)
        assert uses_blocks(adapted.llama) is blocked
        assert not uses_blocks(backbone.model)
        totals = candidate_likelihoods(adapted, batch)
        totals.sum().backward()  # type: ignore[no-untyped-call]
        found.append((totals.detach(), {name: p.grad for name, p in adapted.trained().items()}))
        if adapted.head is not None:
            adapted.head.detach()
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-5, atol=1e-4)
    for name, gradient in found[0][1].items():
        other = found[1][1][name]
        assert (gradient is None) == (other is None), name
        if gradient is not None and other is not None:
            torch.testing.assert_close(gradient, other, rtol=1e-3, atol=1e-4 * float(gradient.abs().max()) + 1e-7)
