"""The written-out decoding step against transformers' own modules."""

from __future__ import annotations

import gc
from copy import deepcopy
from typing import Any
from weakref import ref

import pytest
import torch
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from webrec.models import decode_step
from webrec.models.decode_step import DecodeStep, StepCache, step_of

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "one key/value head": {"num_key_value_heads": 1},
    "as many key/value heads": {"num_key_value_heads": 4},
    "biases": {"attention_bias": True, "mlp_bias": True},
    "wide heads, gelu": {"head_dim": 24, "hidden_act": "gelu"},
    "stretched positions": {
        "rope_parameters": {
            "rope_type": "llama3",
            "rope_theta": 10000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        }
    },
}


def tiny(dtype: torch.dtype = torch.float64, **changed: Any) -> LlamaForCausalLM:
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "vocab_size": 97,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
    }
    model = LlamaForCausalLM(LlamaConfig(**settings | changed))
    for parameter in model.parameters():  # biases start at zero, norms at one: nothing that is left out would show
        parameter.data.add_(torch.randn_like(parameter) * 0.2)
    return model.to(dtype).eval().requires_grad_(False)


def prompts(*lengths: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(97, (n,), generator=generator).tolist() for n in lengths]


@torch.inference_mode()
def filled(model: LlamaForCausalLM, prompt: list[int]) -> DynamicCache:
    cache = DynamicCache(config=model.config)
    model(torch.tensor([prompt]), past_key_values=cache)
    return cache


@torch.inference_mode()
def whole(model: LlamaForCausalLM, ids: list[int], last: int) -> torch.Tensor:
    return model(torch.tensor([ids]), use_cache=False).logits[0, -last:]


@pytest.mark.parametrize("variant", VARIANTS)
def test_equals_a_full_pass_for_rows_of_different_lengths_and_several_tokens(variant: str) -> None:
    model = tiny(**VARIANTS[variant])
    texts = prompts(40, 7, 23)
    cache = StepCache([filled(model, text) for text in texts], 12)
    written: list[list[int]] = [[], [], []]
    step = DecodeStep(model)
    for tokens in (1, 3, 1, 4):
        new = prompts(*[tokens + 10] * 3)
        more = [row[:tokens] for row in new]
        with torch.inference_mode():
            logits, _ = step(torch.tensor(more), cache)
        for row in range(3):
            written[row] += more[row]
            expected = whole(model, texts[row] + written[row], tokens)
            torch.testing.assert_close(logits[row], expected, rtol=1e-9, atol=1e-9)
    cache.keep([2, 1])  # the longest has gone
    with torch.inference_mode():
        logits, _ = step(torch.tensor([[5], [6]]), cache)
    torch.testing.assert_close(logits[0], whole(model, [*texts[2], *written[2], 5], 1), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(logits[1], whole(model, [*texts[1], *written[1], 6], 1), rtol=1e-9, atol=1e-9)


def test_rows_that_join_others_are_moved_layer_by_layer() -> None:
    model = tiny()
    texts = prompts(5, 60, 9)
    apart = StepCache([filled(model, text) for text in texts], 12)
    first = StepCache([filled(model, text) for text in texts[:2]], 12)
    layers = [ref(layer) for layer in (*first.keys, *first.values)]
    joined = StepCache([filled(model, texts[2])], 12, beside=first)
    assert [layer() for layer in layers] == [None] * len(layers)  # `first` is there still, and holds nothing
    ids = torch.tensor([[3], [4], [5]])
    torch.testing.assert_close(step_of(model)(ids, joined)[0], step_of(model)(ids, apart)[0], rtol=0, atol=1e-12)
    before = [ref(layer) for layer in joined.keys]
    joined.keep([0, 2])
    assert [layer() for layer in before] == [None] * len(before)
    assert len(joined.keys[0]) == len(joined.values[0]) == 2


def test_what_was_guessed_wrongly_is_overwritten() -> None:
    model = tiny()
    (text,) = prompts(9)
    cache = StepCache([filled(model, text)], 8)
    step = DecodeStep(model)
    with torch.inference_mode():
        held = cache.held
        step(torch.tensor([[3, 50, 51, 52]]), cache)
        cache.held = held + 1
        logits = step(torch.tensor([[4, 60]]), cache)[0][0]
    torch.testing.assert_close(logits, whole(model, [*text, 3, 4, 60], 2), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-4), (torch.bfloat16, 0.15)])
def test_blocked_weights_give_the_same_numbers(
    dtype: torch.dtype, close: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny(dtype, attention_bias=True)
    if not decode_step._can_pack(model):
        pytest.skip("this torch or CPU has no blocked products for it")
    texts = prompts(30, 12)
    new = torch.tensor([[5, 6], [7, 8]])
    found = []
    for most in (2**31, 0):
        monkeypatch.setattr(decode_step, "PACKED_BYTES", most)
        cache = StepCache([filled(model, text) for text in texts], 4)
        with torch.inference_mode():
            found.append(DecodeStep(model)(new, cache)[0].float())
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=close)
    for row in range(2):
        expected = whole(deepcopy(model).double(), texts[row] + new[row].tolist(), 2).float()
        torch.testing.assert_close(found[0][row], expected, rtol=0, atol=close)


def test_a_changed_projection_is_called_as_it_is() -> None:
    class Doubled(torch.nn.Linear):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(inputs)

    model = tiny(torch.float32)
    plain = model.model.layers[1].self_attn.v_proj
    changed = Doubled(plain.in_features, plain.out_features, bias=False)
    changed.load_state_dict(plain.state_dict())
    model.model.layers[1].self_attn.v_proj = changed
    (text,) = prompts(9)
    with torch.inference_mode():
        logits = DecodeStep(model)(torch.tensor([[3]]), StepCache([filled(model, text)], 1))[0][0]
    torch.testing.assert_close(logits, whole(model, [*text, 3], 1), rtol=1e-4, atol=1e-4)


def test_a_step_is_made_once_and_goes_with_its_model() -> None:
    model = tiny(torch.float32)
    assert step_of(model) is step_of(model)
    gone = ref(model)
    del model
    gc.collect()
    assert gone() is None
