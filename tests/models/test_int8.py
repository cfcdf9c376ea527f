"""8-bit products against the integers they stand for in float64, and a whole model with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from webrec.errors import ConfigurationError
from webrec.models.adapter import AdaptedLlama
from webrec.models.backbone import get_backbone, sharing_weights
from webrec.models.config import BackboneConfig, LoraTuning
from webrec.models.decoding import decode_together
from webrec.models.int8 import BLOCK, Int8Linear, is_exact, quantised
from webrec.models.packing import EncodedExample, candidate_likelihoods, pack
from webrec.models.scoring import score_candidates

pytestmark = pytest.mark.skipif(not is_exact(), reason="this CPU does not multiply int8 exactly")


def slow_quantised(rows: Tensor) -> Tensor:
    """Each row rounded to 127 steps of its largest value, in float64."""
    table = rows.double().numpy()
    step = np.maximum(np.abs(table).max(-1, keepdims=True), 1e-30) / 127
    return torch.from_numpy(np.rint(table / step) * step)


def layer(inputs: int = 24, outputs: int = 16, bias: bool = False, seed: int = 0) -> nn.Linear:
    torch.manual_seed(seed)
    return nn.Linear(inputs, outputs, bias=bias)


@pytest.mark.parametrize("rows", [1, 3, BLOCK + 5])
@pytest.mark.parametrize("bias", [False, True])
def test_product_is_that_of_the_rounded_numbers(rows: int, bias: bool) -> None:
    plain = layer(bias=bias)
    made = Int8Linear(plain.weight, plain.bias)
    inputs = torch.randn(2, rows, 24)
    expected = slow_quantised(inputs) @ slow_quantised(plain.weight.detach()).T
    if plain.bias is not None:
        expected += plain.bias.detach().double()
    torch.testing.assert_close(made(inputs).double(), expected, atol=1e-5, rtol=1e-5)
    assert (made(inputs) - plain(inputs)).norm() < 0.03 * plain(inputs).norm()


def test_gradient_is_that_of_the_rounded_numbers() -> None:
    plain = layer()
    made = Int8Linear(plain.weight)
    inputs = torch.randn(5, 24, requires_grad=True)
    sent = torch.randn(5, 16)
    made(inputs).backward(sent)
    weight, scale = quantised(plain.weight.detach())
    expected = slow_quantised(sent * scale.T) @ weight.double()
    assert inputs.grad is not None
    torch.testing.assert_close(inputs.grad.double(), expected, atol=1e-5, rtol=1e-5)
    assert made.weight.grad is None


@pytest.mark.parametrize("outputs", [64, 2 * BLOCK + 5])
def test_gradient_of_logits_keeps_its_tail(outputs: int) -> None:
    made = Int8Linear(layer(4, outputs).weight)
    inputs = torch.randn(3, 4, requires_grad=True)
    sent = torch.full((3, outputs), 1e-4)
    sent[:, 0] = 1.0
    made(inputs).backward(sent)
    assert inputs.grad is not None
    expected = sent.double() @ (made.weight.double() * made.scale.double()[:, None])
    torch.testing.assert_close(inputs.grad.double(), expected, atol=1e-6, rtol=1e-5)


def test_rows_do_not_depend_on_one_another() -> None:
    made, inputs = Int8Linear(layer().weight), torch.randn(9, 24)
    inputs[3] *= 1e4
    alone = torch.cat([made(row[None]) for row in inputs])
    torch.testing.assert_close(made(inputs), alone, atol=1e-6, rtol=1e-6)


def test_joined_is_side_by_side() -> None:
    parts = [Int8Linear(p.weight, p.bias) for p in (layer(bias=True), layer(24, 8, bias=True, seed=1))]
    inputs = torch.randn(4, 24)
    torch.testing.assert_close(Int8Linear.joined(parts)(inputs), torch.cat([p(inputs) for p in parts], -1))


@settings(max_examples=50)
@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=8))
def test_rounding_is_within_half_a_step(values: list[float]) -> None:
    rows = torch.tensor([values])
    integers, scale = quantised(rows)
    assert int(integers.abs().max()) <= 127
    assert ((integers * scale - rows).abs() <= scale * 0.5001 + 1e-30).all()


def test_zeros_and_what_is_no_number() -> None:
    made = Int8Linear(layer().weight)
    assert (made(torch.zeros(2, 24)) == 0).all()
    assert made(torch.full((1, 24), torch.nan)).isnan().all()


def test_a_model_in_8_bits(tiny_bytes: Path) -> None:
    config = BackboneConfig(backbone=str(tiny_bytes), dtype="int8", device="cpu")
    made, plain = get_backbone(config), get_backbone(config.model_copy(update={"dtype": "float32"}))
    assert (made.dtype, plain.dtype) == ("int8", "float32")
    prompt, answers = list(range(20, 60)), [[70, 71, 72], [80], [90, 91]]
    rough, exact = (score_candidates(b, prompt, answers) for b in (made, plain))
    assert [r.total for r in rough] != [e.total for e in exact]
    np.testing.assert_allclose([r.mean for r in rough], [e.mean for e in exact], atol=0.2)
    alone = [score_candidates(made, prompt, [answer])[0].total for answer in answers]
    np.testing.assert_allclose([r.total for r in rough], alone, atol=0.05)
    (written,) = decode_together(made, [prompt], 8)
    assert len(written.ids) == len(written.entropy) > 0


def test_an_adapter_learns_on_it(tiny_bytes: Path) -> None:
    backbone = get_backbone(BackboneConfig(backbone=str(tiny_bytes), dtype="int8", device="cpu"))
    adapted = AdaptedLlama.new(sharing_weights(backbone.model), LoraTuning(), None).train()
    batch = pack([EncodedExample("a", list(range(20, 40)), [[50, 51], [60, 61]], 1)])
    optimiser = torch.optim.AdamW(adapted.trained().values(), lr=1e-2)
    lost = []
    for _ in range(15):
        loss = -candidate_likelihoods(adapted, batch).log_softmax(0)[1]
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        lost.append(float(loss.detach()))
    assert lost[-1] < 0.5 * lost[0]


def test_only_on_cpus(tiny_bytes: Path) -> None:
    with pytest.raises(ConfigurationError, match="dtype: int8 computes on CPUs alone"):
        get_backbone(BackboneConfig(backbone=str(tiny_bytes), dtype="int8", device="meta"))
