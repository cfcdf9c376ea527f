"""The task feature is what its definition says, live in training and kept afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from webrec.errors import ConfigurationError
from webrec.models.mp_head.config import MPHeadConfig
from webrec.models.mp_head.model import MPHead
from webrec.models.mp_head.task import TaskFeature

from .attached import TUNINGS, attach, load, tokens
from .reference import lora_feature

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # PEFT's own


@pytest.mark.parametrize("tuning", TUNINGS)
def test_by_definition(tiny_llama: Path, tuning: str) -> None:
    attached = attach(load(tiny_llama), tuning)
    for training in (False, True):
        attached.model.train(training)
        torch.testing.assert_close(attached.head.task().detach(), attached.z(), rtol=1e-6, atol=1e-8)
    assert float(attached.z().square().mean()) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("adapted", "counted"),
    [
        (["q_proj"], 1),
        (["q_proj", "o_proj", "down_proj"], 1),
        (["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"], 5),
    ],
)
def test_only_modules_that_read_the_hidden_state_count(tiny_llama: Path, adapted: list[str], counted: int) -> None:
    """o_proj does not, although its input may be as wide; a new LoRA (B = 0) has a feature too."""
    llama = load(tiny_llama, torch.float32)
    model = get_peft_model(llama, LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=adapted))
    head = MPHead(MPHeadConfig(layers=(1,)), llama.config).attach(model)
    readers = ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj")
    modules = [m for name, m in llama.named_modules() if name.endswith(readers) and hasattr(m, "lora_A")]
    assert len(modules) == counted * len(llama.model.layers)
    assert not any(module.lora_B["default"].weight.any() for module in modules)
    pairs = [(module.lora_A["default"].weight, module.lora_B["default"].weight) for module in modules]
    torch.testing.assert_close(
        head.task().detach().double(), torch.from_numpy(lora_feature(pairs)), rtol=1e-5, atol=1e-6
    )


def test_a_lora_without_such_a_module_is_refused(tiny_llama: Path) -> None:
    llama = load(tiny_llama, torch.float32)
    model = get_peft_model(llama, LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["o_proj", "down_proj"]))
    with pytest.raises(ConfigurationError, match=r"targets: .*hidden state"):
        MPHead(MPHeadConfig(layers=(1,)), llama.config).attach(model)
    zero = MPHeadConfig(layers=(1,), task_feature="zero")
    assert MPHead(zero, llama.config).attach(model).attached


@pytest.mark.parametrize("tuning", TUNINGS)
def test_live_in_training_and_frozen_in_evaluation(tiny_llama: Path, tuning: str) -> None:
    attached = attach(load(tiny_llama), tuning)
    task = attached.head.task
    tensor = next(p for n, p in attached.model.named_parameters() if "lora_A" in n or "prompt_encoder" in n)
    before = task().clone()
    assert not before.requires_grad
    attached.model.train()
    assert task().requires_grad
    with torch.no_grad():
        tensor[:, 0] += 3.0
    live = task().detach()
    assert not torch.allclose(live, before)
    assert torch.equal(task.z, before)  # the buffer waits for evaluation
    attached.model.eval()
    assert torch.equal(task(), live)
    with torch.no_grad():
        tensor[:, 1] += 3.0
    assert torch.equal(task(), live)
    attached.model.train()
    attached.model.eval()
    assert not torch.allclose(task(), live)


@pytest.mark.parametrize("tuning", TUNINGS)
def test_gradients_reach_what_is_fine_tuned(tiny_llama: Path, tuning: str) -> None:
    """Through z alone, also where B = 0."""
    attached = attach(load(tiny_llama), tuning)
    with torch.no_grad():
        for name, parameter in attached.model.named_parameters():
            if "lora_B" in name:
                parameter.zero_()
    attached.model.train()
    attached.head.task()[3].backward()
    reached = {n for n, p in attached.model.named_parameters() if p.grad is not None and p.grad.any()}
    names = {"prompt": {"prompt_encoder.default.embedding.weight"}}.get(tuning)
    if names is None:
        names = {n for n, _ in attached.model.named_parameters() if "lora_A" in n and "o_proj" not in n}
    assert reached == names


def test_the_feature_of_a_zero_task_is_zero(tiny_llama: Path) -> None:
    """The ablation: u is b_r, whatever is fine-tuned."""
    attached = attach(load(tiny_llama), task_feature="zero")
    layer = attached.head.layers["1"]
    assert torch.equal(layer.direction(), layer.relevance.bias)
    ids = tokens(attached.llama, 1, 9)
    found = attached.logits(ids)[0]
    torch.testing.assert_close(found, attached.by_hand(ids[0].tolist(), [True] * 9), rtol=0, atol=1e-8)


def test_a_feature_that_follows_nothing_is_zero() -> None:
    task = TaskFeature(7)
    assert not task.train()().any()
    assert not task.eval()().any()
    assert not task.follow(torch.nn.Linear(2, 2))
