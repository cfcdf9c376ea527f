"""What learns, from which step on, and what cannot by construction; the backbone never does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from webrec.models.mp_head.config import MPHeadConfig
from webrec.models.mp_head.model import MPHead

from .attached import TUNINGS, VIRTUAL, load, tokens, tuned

pytestmark = [
    pytest.mark.filterwarnings("ignore:Position ids are not supported:UserWarning"),  # PEFT's own
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

RELEVANCE = {"relevance.weight", "relevance.bias"}
RELATING = {"messages.source.weight", "messages.target.weight", "messages.beta"}
FIRST = {"entity.weight", "entity.bias"}
CASES: list[tuple[dict[str, Any], set[str]]] = [
    # the head, and its tensors without a gradient, which follows from the equations:
    ({"kind": "literal", "top_k": None, "hops": 1}, set()),
    ({"kind": "literal", "top_k": 5, "hops": 3}, set()),
    ({"kind": "literal", "top_k": 5, "hops": 2, "self_loops": False}, set()),
    # One node: √|c|·√|c| / |c| = 1, and without self loops there is no edge at all.
    ({"kind": "literal", "top_k": 1}, RELEVANCE),
    ({"kind": "literal", "top_k": 1, "self_loops": False}, RELEVANCE | FIRST | {"messages.hops.0.weight"}),
    ({"kind": "literal", "top_k": 5, "task_feature": "zero"}, {"relevance.weight"}),  # its input is 0
    ({"kind": "linear", "top_k": None, "hops": 2}, set()),
    ({"kind": "linear", "top_k": 5}, RELEVANCE),  # relevance only selects
    ({"kind": "pairwise", "top_k": None, "hops": 1}, set()),
    ({"kind": "pairwise", "top_k": 5, "hops": 3}, set()),
    ({"kind": "pairwise", "top_k": 1, "hops": 2}, RELEVANCE | RELATING),  # P = 1
    ({"kind": "pairwise", "top_k": 5, "relevance_bias": False}, {"messages.beta"}),
    ({"kind": "pairwise", "top_k": 5, "task_scale": False}, set()),
    ({"kind": "pairwise", "top_k": 5, "task_scale": False, "relevance_bias": False}, RELEVANCE | {"messages.beta"}),
    ({"kind": "pairwise", "top_k": 5, "mixing": "identity"}, RELEVANCE | RELATING),
    ({"kind": "pairwise", "top_k": 5, "mixing": "uniform"}, RELEVANCE | RELATING),
    ({"kind": "pairwise", "top_k": 5, "learned_depth": False}, {"messages.depth"}),
]


def new(folder: Path, tuning: str, config: dict[str, Any], dtype: torch.dtype = torch.float64) -> tuple[Any, MPHead]:
    """A PEFT model with a new head in layer 1, in training."""
    llama = load(folder, dtype)
    model = tuned(llama, tuning)
    torch.manual_seed(3)
    head = MPHead(MPHeadConfig.model_validate({"layers": (1,)} | config), llama.config).attach(model)
    head.to(torch.promote_types(dtype, torch.float32))
    return model.train(), head


def batch(model: Any) -> dict[str, Tensor]:
    """Two prompts with answers of different lengths."""
    ids = tokens(model.get_base_model(), 2, 14)
    labels = ids.clone()
    labels[0, :9], labels[1, :11] = -100, -100
    return {"input_ids": ids, "labels": labels}


def step(model: Any) -> None:
    model.zero_grad()
    model(**batch(model)).loss.backward()


def open_gates(head: MPHead) -> None:
    with torch.no_grad():
        for gate in head.gates():
            gate.fill_(0.5)


def gradients(head: MPHead) -> dict[str, Tensor]:
    """Of every tensor; zeros where there is none."""
    parameters = head.layers["1"].named_parameters()
    return {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in parameters}


@pytest.mark.parametrize("tuning", TUNINGS)
@pytest.mark.parametrize(("config", "dead"), CASES, ids=lambda c: " ".join(map(str, c.values())) if "kind" in c else "")
def test_the_gate_learns_first_then_everything_else(
    tiny_bytes: Path, tuning: str, config: dict[str, Any], dead: set[str]
) -> None:
    model, head = new(tiny_bytes, tuning, config)
    step(model)
    first = gradients(head)
    assert {name for name, gradient in first.items() if gradient.any()} == {"gate"}
    trained = [p for p in model.parameters() if p.requires_grad]
    torch.optim.AdamW(trained, lr=0.05).step()
    step(model)
    second = gradients(head)
    largest = max(float(gradient.abs().max()) for gradient in second.values())
    assert {name for name, gradient in second.items() if gradient.abs().max() < 1e-10 * largest} == dead
    others = {name: p for name, p in model.named_parameters() if "mp_head" not in name}
    assert all(p.grad is not None and p.grad.any() for p in others.values() if p.requires_grad)
    backbone = [p for name, p in others.items() if "lora_" not in name and "prompt_encoder" not in name]
    assert len(backbone) >= 20
    assert all(p.grad is None and not p.requires_grad for p in backbone)


@pytest.mark.parametrize("kind", ["literal", "linear", "pairwise"])
def test_the_last_bias_of_the_keys_cancels(tiny_bytes: Path, kind: str) -> None:
    """It moves all scores of a query by the same amount, and softmax does not see that."""
    model, head = new(tiny_bytes, "lora", {"kind": kind, "hops": 2, "top_k": 5})
    open_gates(head)
    step(model)
    keys, values = gradients(head)["messages.hops.1.bias"].chunk(2)
    assert keys.abs().max() < 1e-10 * values.abs().max()
    keys, values = gradients(head)["messages.hops.1.weight"].chunk(2)
    assert keys.abs().max() > 1e-6 * values.abs().max()


@pytest.mark.parametrize("tuning", TUNINGS)
def test_training_after_evaluation(tiny_llama: Path, tuning: str) -> None:
    """In inference mode too, where tensors are made that cannot be trained with."""
    model, head = new(tiny_llama, tuning, {"kind": "pairwise", "hops": 2, "top_k": 5})
    open_gates(head)
    step(model)
    expected = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    inputs = batch(model)
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            model.eval()
            model(**inputs)
            model.generate(input_ids=inputs["input_ids"], max_new_tokens=2, pad_token_id=0)
        model.train()
        step(model)
        for name, parameter in model.named_parameters():
            if name in expected:
                torch.testing.assert_close(parameter.grad, expected[name], rtol=0, atol=1e-12)


def test_gradients_in_evaluation_after_inference_mode(tiny_llama: Path) -> None:
    """For attributions, say: the buffer of z must not stay a tensor of inference mode."""
    model, head = new(tiny_llama, "lora", {"kind": "literal", "top_k": 5})
    open_gates(head)
    with torch.inference_mode():
        model.eval()
    model(**batch(model)).loss.backward()
    assert bool(head.layers["1"].entity.weight.grad.isfinite().all())


@pytest.mark.parametrize("kind", ["literal", "pairwise"])
def test_recomputed_activations_give_the_same_gradients(tiny_llama: Path, kind: str) -> None:
    model, head = new(tiny_llama, "lora", {"kind": kind, "top_k": 5})
    open_gates(head)
    step(model)
    expected = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    step(model)
    assert {name for name, p in model.named_parameters() if p.grad is not None} == set(expected)
    for name, parameter in model.named_parameters():
        if name in expected:
            torch.testing.assert_close(parameter.grad, expected[name], rtol=0, atol=1e-10)


@pytest.mark.parametrize("tuning", TUNINGS)
@pytest.mark.parametrize("kind", ["literal", "linear", "pairwise"])
def test_a_bfloat16_backbone_trains_float32_heads(tiny_llama: Path, kind: str, tuning: str) -> None:
    model, head = new(tiny_llama, tuning, {"kind": kind, "top_k": 5}, torch.bfloat16)
    open_gates(head)
    step(model)
    for parameter in head.parameters():
        assert parameter.dtype == torch.float32
        if parameter.requires_grad:
            assert parameter.grad is not None
            assert parameter.grad.dtype == torch.float32
            assert bool(parameter.grad.isfinite().all())


def test_a_few_steps_lower_the_loss(tiny_llama: Path) -> None:
    for kind in ("literal", "pairwise"):
        model, head = new(tiny_llama, "prompt", {"kind": kind, "top_k": 5}, torch.float32)
        assert model(**batch(model)).logits.shape[1] == 14 + VIRTUAL
        optimiser = torch.optim.AdamW(head.parameters(), lr=0.02)
        losses = []
        for _ in range(8):
            optimiser.zero_grad()
            loss = model(**batch(model)).loss
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
        assert losses[-1] < losses[0] - 0.05
