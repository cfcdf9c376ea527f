"""Gradients of a packed, padded batch against PEFT's own forward, one candidate at a time, in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from webrec.models.adapter import AdaptedLlama
from webrec.models.mp_head.model import set_gates
from webrec.models.packing import EncodedExample, pack
from webrec.models.training.config import TrainingConfig
from webrec.models.training.losses import LossModule

from .worker import task, tiny_adapted

HEADS: dict[str, dict[str, Any] | None] = {
    "none": None,
    "literal": {"layers": (0,), "top_k": 5},
    "linear": {"kind": "linear", "layers": (1,), "top_k": None},
    "pairwise": {"kind": "pairwise", "layers": (0, 1), "hops": 2, "top_k": 5, "rotary": True},
}


def alive(tuning: str, head: str) -> AdaptedLlama:
    """An adapter in training mode, every part of which has an effect; all of it in float64."""
    adapted = tiny_adapted(tuning, HEADS[head])
    adapted.double()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(8)
        for name, parameter in adapted.trained().items():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.2)
    if adapted.head is not None:
        set_gates(adapted.head, 0.7)
    return adapted.train()


def plain_loss(adapted: AdaptedLlama, example: EncodedExample, config: TrainingConfig) -> Tensor:
    """The loss of one example, written down once more from its definition."""
    means = []
    for candidate in example.candidates:
        ids = torch.tensor([[*example.prompt, *candidate]])
        nodes = {} if adapted.head is None else {"node_mask": torch.arange(ids.shape[1])[None] < len(example.prompt)}
        log_p = adapted.peft(input_ids=ids, **nodes).logits[0].double().log_softmax(-1)
        first = log_p.shape[0] - len(candidate) - 1
        means.append(torch.stack([log_p[first + n, token] for n, token in enumerate(candidate)]).mean())
    if config.loss == "title":
        return -means[example.target]
    return -(torch.stack(means) / config.temperature).log_softmax(0)[example.target]


def gradients(adapted: AdaptedLlama, loss: Tensor) -> dict[str, Tensor]:
    trained = adapted.trained()
    found = torch.autograd.grad(loss, list(trained.values()), allow_unused=True)
    return {n: torch.zeros_like(p) if g is None else g for (n, p), g in zip(trained.items(), found, strict=True)}


@pytest.mark.parametrize("loss", ["listwise", "title"])
@pytest.mark.parametrize("tuning", ["lora", "soft_prompt"])
@pytest.mark.parametrize("head", HEADS)
def test_gradients_are_those_of_plain_passes(head: str, tuning: str, loss: str) -> None:
    adapted, config = alive(tuning, head), TrainingConfig.model_validate({"loss": loss, "temperature": 0.7})
    batch, weights = task(4, 9), torch.tensor([0.5, 0.25, 0.0, 1.5], dtype=torch.float64)
    soft_prompt = adapted.soft_prompt()
    packed = pack(batch, 0 if soft_prompt is None else len(soft_prompt), only_target=loss == "title")
    got = LossModule(adapted, config)(packed, weights)
    expected = torch.stack([plain_loss(adapted, e, config) for e in batch]) @ weights
    assert float(got.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    found, reference = gradients(adapted, got), gradients(adapted, expected)
    largest = max(float(g.abs().max()) for g in reference.values())
    for name, gradient in reference.items():
        # The packed logits are float32 on purpose, and that is all the difference there may be.
        assert float((found[name] - gradient).abs().max()) < 1e-5 * largest, name
    silent = {n for n, g in reference.items() if not g.any()}
    assert not silent, "a test that compares zeros shows nothing"
