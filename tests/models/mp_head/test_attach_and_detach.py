"""A new head changes nothing, bit for bit; a head taken off leaves nothing behind; the wrong model is refused."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from webrec.errors import ConfigurationError
from webrec.models.mp_head.config import MPHeadConfig
from webrec.models.mp_head.model import MPHead

from .attached import HEADS, TUNINGS, attach, load, randomise, tokens, tuned


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("tuning", TUNINGS)
@pytest.mark.parametrize("head", HEADS)
def test_a_new_head_changes_no_bit(tiny_llama: Path, head: str, tuning: str, attention: str) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        model = tuned(load(tiny_llama, dtype, attention), tuning)
        ids = tokens(model.get_base_model(), 2, 12)
        real = torch.ones(2, 12, dtype=torch.long)
        real[0, :4] = 0
        with torch.no_grad():
            plain = model(input_ids=ids, attention_mask=real).logits
            config = MPHeadConfig.model_validate({"layers": (1,)} | HEADS[head])
            made = MPHead(config, model.get_base_model().config).attach(model).eval()
            assert torch.equal(model(input_ids=ids, attention_mask=real).logits, plain)
        made.detach()


@pytest.mark.parametrize("tuning", TUNINGS)
def test_detaching_a_trained_head_restores_every_bit(tiny_llama: Path, tuning: str) -> None:
    llama = load(tiny_llama, torch.float32)
    names = set(llama.state_dict())
    attached = attach(llama, tuning, layers=(0, 1), top_k=5)
    ids = tokens(llama, 2, 12)
    with_head = attached.logits(ids)
    attached.head.detach()
    without = attached.logits(ids)
    assert not attached.head.attached
    assert torch.equal(without, tuned(load(tiny_llama, torch.float32), tuning)(input_ids=ids).logits[:, -12:])
    assert not torch.allclose(with_head, without)
    assert set(attached.model.unload().state_dict() if tuning == "lora" else llama.state_dict()) == names
    for module in llama.modules():
        assert not hasattr(module, "mp_head")


def test_attached_again_it_computes_the_same(tiny_llama: Path) -> None:
    attached = attach(load(tiny_llama), **HEADS["literal"])
    ids = tokens(attached.llama, 1, 9)
    first = attached.logits(ids)
    attached.head.detach()
    attached.head.attach(attached.model)
    assert torch.equal(attached.logits(ids), first)


def test_the_head_is_a_submodule_of_its_attention(tiny_sentencepiece: Path) -> None:
    attached = attach(load(tiny_sentencepiece), layers=(0, 2))
    layers = attached.llama.model.layers
    assert [hasattr(layer.self_attn, "mp_head") for layer in layers] == [True, False, True]
    assert layers[2].self_attn.mp_head is attached.head.layers["2"]
    attached.model.train()
    assert all(layer.training for layer in attached.head.layers.values())
    attached.model.eval()
    assert not any(layer.training for layer in attached.head.layers.values())


def test_a_copy_is_a_model_of_its_own_or_refused(tiny_llama: Path) -> None:
    attached = attach(load(tiny_llama), **HEADS["literal"])
    ids = tokens(attached.llama, 1, 9)
    expected = attached.logits(ids)
    try:
        copied = copy.deepcopy(attached.model)
    except ConfigurationError:
        return
    with torch.no_grad():
        assert torch.equal(copied(input_ids=ids).logits, expected)
        copied.get_base_model().model.layers[1].self_attn.mp_head.gate.zero_()
        assert not torch.equal(copied(input_ids=ids).logits, expected)
        assert torch.equal(attached.logits(ids), expected)
    labels = ids.clone()
    labels[:, :5] = -100
    copied.train()
    copied(input_ids=ids, labels=labels).loss.backward()
    assert all(parameter.grad is None for parameter in attached.model.parameters())
    assert any(parameter.grad is not None for parameter in copied.parameters())


def test_a_peft_model_that_names_no_task(tiny_llama: Path) -> None:
    """Its forward takes anything, by position too."""
    llama = load(tiny_llama)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PEFT's own
        model = get_peft_model(llama, LoraConfig(r=2, target_modules=["q_proj"])).eval()
    head = MPHead(MPHeadConfig(layers=(1,), top_k=5), llama.config).attach(model).double()
    randomise(head)
    ids, real = tokens(llama, 2, 9), torch.ones(2, 9, dtype=torch.long)
    real[0, :4] = 0
    labels = ids.clone()
    labels[:, :6] = -100
    with torch.no_grad():
        assert torch.equal(model(ids, real).logits, model(input_ids=ids, attention_mask=real).logits)
        by_name = model(input_ids=ids, attention_mask=real, labels=labels)
        assert torch.equal(model(ids, real, labels=labels).logits, by_name.logits)


def test_merging_the_lora_keeps_the_head(tiny_llama: Path) -> None:
    attached = attach(load(tiny_llama), **HEADS["literal"])
    ids = tokens(attached.llama, 1, 9)
    expected = attached.logits(ids)
    merged = attached.model.merge_and_unload().eval()
    with torch.no_grad():
        torch.testing.assert_close(merged(ids).logits, expected, rtol=0, atol=1e-8)


def test_where_a_head_cannot_be_attached(tiny_llama: Path) -> None:
    llama = load(tiny_llama, torch.float32)
    count = len(llama.model.layers)

    def refused(message: str, head: MPHead, model: object) -> None:
        with pytest.raises(ConfigurationError, match=message):
            head.attach(model)

    refused("fine-tuned", MPHead(MPHeadConfig(layers=(1,)), llama.config), llama)
    other = tuned(load(tiny_llama, torch.float32))
    refused(rf"layers: {count} ", MPHead(MPHeadConfig(layers=(0, count)), llama.config), other)
    wide = copy.deepcopy(llama.config)
    wide.num_key_value_heads = 1
    refused("backbone", MPHead(MPHeadConfig(layers=(1,)), wide), other)
    refused("LlamaForCausalLM", MPHead(MPHeadConfig(layers=(1,)), llama.config), torch.nn.Linear(2, 2))
    first = MPHead(MPHeadConfig(layers=(1,)), llama.config).attach(other)
    refused("detach", first, other)
    refused("detach", MPHead(MPHeadConfig(layers=(0, 1)), llama.config), other)
    assert not hasattr(other.get_base_model().model.layers[0].self_attn, "mp_head")  # a refusal leaves nothing behind


def test_heads_without_a_task_need_nothing_fine_tuned(tiny_llama: Path) -> None:
    for config in (
        MPHeadConfig(layers=(1,), task_feature="zero"),
        MPHeadConfig(kind="linear", layers=(1,), top_k=None),
    ):
        llama = load(tiny_llama, torch.float32)
        head = MPHead(config, llama.config).attach(llama)
        assert head.attached
