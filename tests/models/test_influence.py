"""Eq. 1-2 against transformers' own attention matrices."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import LlamaForCausalLM

from webrec.errors import ConfigurationError
from webrec.models.backbone import Backbone
from webrec.models.decoding import decode_greedily
from webrec.models.influence import influence, resolve_layer

Heads = Literal["mean", "max"]
GERMAN = "Die Feuchtigkeitscreme für trockene Haut ist mild, süß und duftet nach Rosen."
JAPANESE = "保湿クリームは乾燥した肌にやさしい。東京のお茶はおいしいです。"
ENGLISH = "A user has bought Red boots; Warm gloves in the previous."
TOLERANCE = 1e-5


def reference(
    model: LlamaForCausalLM, prompt: list[int], generated: list[int], layer: int, heads: Heads
) -> list[float]:
    """Eq. 2 read literally, from the attention of a full pass."""
    with torch.inference_mode():
        attention = model(torch.tensor([prompt + generated]), output_attentions=True, use_cache=False).attentions[layer]
    joined = attention[0].mean(0) if heads == "mean" else attention[0].amax(0)
    among_generated = joined[len(prompt) :, len(prompt) :]
    scores = [float(among_generated[i + 1 :, i].max()) for i in range(len(generated) - 1)]
    return [*scores, 0.0]


def random_ids(model: LlamaForCausalLM, count: int, seed: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    ids: list[int] = torch.randint(5, model.config.vocab_size, (count,), generator=generator).tolist()
    return ids


def assert_hookless(backbone: Backbone) -> None:
    for module in backbone.model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


@pytest.mark.parametrize("heads", ["mean", "max"])
@pytest.mark.parametrize("text", [ENGLISH, GERMAN, JAPANESE])
def test_every_layer_equals_the_reference(backbone: Backbone, eager: LlamaForCausalLM, text: str, heads: Heads) -> None:
    prompt = backbone.chat.encode_turn(ENGLISH)
    generated = backbone.chat.encode(text)
    layers = len(eager.model.layers)
    for layer in range(-layers, layers):
        got = influence(backbone, prompt, generated, layer, heads)
        assert got == pytest.approx(reference(eager, prompt, generated, layer, heads), abs=TOLERANCE)
        assert got[-1] == 0.0
        assert max(got) > 0.01  # the comparison is not one of zeros


@pytest.mark.parametrize("generated_length", [1, 2, 3, 127, 128, 129, 130, 200])
@pytest.mark.parametrize("prompt_length", [1, 17, 150])
def test_every_length_equals_the_reference(
    backbone: Backbone, eager: LlamaForCausalLM, prompt_length: int, generated_length: int
) -> None:
    prompt, generated = random_ids(eager, prompt_length, 1), random_ids(eager, generated_length, 2)
    got = influence(backbone, prompt, generated, -1, "mean")
    assert got == pytest.approx(reference(eager, prompt, generated, -1, "mean"), abs=TOLERANCE)


def test_no_prompt_and_no_answer(backbone: Backbone, eager: LlamaForCausalLM) -> None:
    generated = random_ids(eager, 9, 3)
    expected = reference(eager, [], generated, 0, "mean")
    assert influence(backbone, [], generated, 0, "mean") == pytest.approx(expected, abs=TOLERANCE)
    assert influence(backbone, [7], [], 0, "mean") == []


def test_a_layer_outside_the_model_is_refused(backbone: Backbone) -> None:
    layers = len(backbone.model.model.layers)
    assert [resolve_layer(layers, n) for n in range(-layers, layers)] == 2 * list(range(layers))
    for layer in (layers, -layers - 1, 1000):
        with pytest.raises(ConfigurationError, match=rf"attention_layer: {layer} .* use {-layers} to {layers - 1}"):
            influence(backbone, [5], [6, 7], layer, "mean")


def test_no_hook_is_left_behind(backbone: Backbone) -> None:
    influence(backbone, [5, 6], [7, 8], -1, "mean")
    assert_hookless(backbone)
    with pytest.raises(IndexError):
        influence(backbone, [5, 6], [10**6], -1, "mean")
    assert_hookless(backbone)


class LargestTensor(TorchDispatchMode):
    """Notes the most elements that any operator's output has."""

    elements = 0

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


def test_no_attention_over_the_whole_context_is_kept(backbone: Backbone, eager: LlamaForCausalLM) -> None:
    prompt, generated = random_ids(eager, 700, 4), random_ids(eager, 20, 5)
    with LargestTensor() as seen:
        influence(backbone, prompt, generated, -1, "mean")
    with LargestTensor() as full:
        reference(eager, prompt, generated, -1, "mean")
    heads, length = eager.config.num_attention_heads, len(prompt) + len(generated)
    assert full.elements >= heads * length**2
    assert seen.elements < heads * length**2 / 4


@pytest.mark.parametrize(("prompt_length", "generated_length"), [(700, 20), (500, 150), (100, 900)])
def test_memory_is_that_of_a_block_of_generated_rows(
    backbone: Backbone, eager: LlamaForCausalLM, prompt_length: int, generated_length: int
) -> None:
    prompt, generated = random_ids(eager, prompt_length, 4), random_ids(eager, generated_length, 5)
    with LargestTensor() as seen:
        influence(backbone, prompt, generated, -1, "mean")
    config, length = eager.config, prompt_length + generated_length
    block = config.num_attention_heads * min(generated_length, 128) * length
    joined = generated_length**2  # one number a pair of generated tokens, heads joined
    assert seen.elements <= max(block, joined, length * config.intermediate_size)


def test_runs_in_parallel_do_not_mix(backbone: Backbone, eager: LlamaForCausalLM) -> None:
    runs = [(random_ids(eager, 20 + 30 * n, n), random_ids(eager, 10 + 25 * n, 9 + n)) for n in range(3)]

    def probe(n: int) -> Any:
        return influence(backbone, *runs[n], -1, "mean")

    def decode() -> Any:
        return decode_greedily(backbone, runs[0][0], 30)

    alone = [probe(0), probe(1), probe(2), decode()]
    start = threading.Barrier(4)

    def repeatedly(job: Callable[[], Any]) -> list[Any]:
        start.wait()
        return [job() for _ in range(12)]

    with ThreadPoolExecutor(4) as pool:
        jobs = [lambda: probe(0), lambda: probe(1), lambda: probe(2), decode]
        together = list(pool.map(repeatedly, jobs))
    assert together[3] == [alone[3]] * 12
    for results, expected in zip(together[:3], alone[:3], strict=True):
        for result in results:  # rounding differs where a pass goes on from the cache that decoding left
            assert result == pytest.approx(expected, abs=TOLERANCE)
    assert_hookless(backbone)


@pytest.mark.slow
@pytest.mark.parametrize("heads", ["mean", "max"])
def test_smollm2_equals_the_reference(smollm2: Backbone, smollm2_eager: LlamaForCausalLM, heads: Heads) -> None:
    prompt = smollm2.chat.encode_turn(ENGLISH + " What does this user like?")
    for generated in (decode_greedily(smollm2, prompt, 48).ids, smollm2.chat.encode(GERMAN + JAPANESE)):
        for layer in (0, 15, -1):
            got = influence(smollm2, prompt, generated, layer, heads)
            assert got == pytest.approx(reference(smollm2_eager, prompt, generated, layer, heads), abs=TOLERANCE)
