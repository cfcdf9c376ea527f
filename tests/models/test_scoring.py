"""Packed scoring against one plain pass per candidate."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM

from webrec.errors import ConfigurationError, RunCancelled
from webrec.models.backbone import Backbone, get_backbone, sharing_weights
from webrec.models.config import BackboneConfig
from webrec.models.scoring import CandidateLikelihood, score_candidates

TITLES = [
    "Soap", "Green tea", "Hand cream, fragrance-free, 50 ml", "Wool scarf", "保湿クリーム", "Größe L", "Soap",
    "Öl-in-Wasser-Emulsion für trockene Haut", "A very long title " * 12, "!",
]  # fmt: skip


def reference(model: LlamaForCausalLM, prompt: list[int], candidate: list[int]) -> float:
    """`Σ_t ln P(c_t | prompt, c_<t)` from one pass over prompt and candidate, without cache or packing."""
    with torch.inference_mode():
        log_p = model(torch.tensor([prompt + candidate]), use_cache=False).logits[0].float().log_softmax(-1)
    return sum(float(log_p[len(prompt) + t - 1, token]) for t, token in enumerate(candidate))


def totals(backbone: Backbone, prompt: list[int], candidates: list[list[int]], pack_tokens: int = 512) -> list[float]:
    return [c.total for c in score_candidates(backbone, prompt, candidates, pack_tokens=pack_tokens)]


def random_case(model: LlamaForCausalLM, seed: int, count: int) -> tuple[list[int], list[list[int]]]:
    """A prompt and candidates of 1 to 30 random tokens, some of which begin alike or are the same."""
    draw = random.Random(seed)
    vocabulary = range(4, model.config.vocab_size)
    prompt = draw.choices(vocabulary, k=draw.choice([1, 2, 60, 300]))
    candidates = [draw.choices(vocabulary, k=draw.randint(1, 30)) for _ in range(count)]
    for n in range(2, count, 5):
        candidates[n] = candidates[n - 1][:3] + candidates[n]
        candidates[n - 2] = list(candidates[n])
    return prompt, candidates


@pytest.mark.parametrize("pack_tokens", [1, 7, 40, 512, 10**6])
def test_packed_equals_one_by_one(backbone: Backbone, eager: LlamaForCausalLM, pack_tokens: int) -> None:
    prompt = backbone.chat.encode_turn("Please recommend the next item for this user to buy")
    candidates = [backbone.chat.encode_answer(title) for title in TITLES]
    expected = [reference(eager, prompt, c) for c in candidates]
    assert totals(backbone, prompt, candidates, pack_tokens) == pytest.approx(expected, abs=1e-4, rel=1e-5)


@pytest.mark.parametrize("seed", range(8))
def test_random_tokens_packed_equal_one_by_one(backbone: Backbone, eager: LlamaForCausalLM, seed: int) -> None:
    prompt, candidates = random_case(eager, seed, count=12)
    expected = [reference(eager, prompt, c) for c in candidates]
    assert totals(backbone, prompt, candidates, 60) == pytest.approx(expected, abs=1e-4, rel=1e-5)


def test_one_and_two_hundred_candidates(backbone: Backbone, eager: LlamaForCausalLM) -> None:
    prompt, candidates = random_case(eager, 99, count=200)
    scored = score_candidates(backbone, prompt, candidates, pack_tokens=700)
    assert [c.tokens for c in scored] == [len(c) for c in candidates]
    assert scored[0].total == pytest.approx(scored[2].total, abs=1e-4)  # the same tokens, elsewhere in the pack
    for n in range(0, 200, 20):
        expected = reference(eager, prompt, candidates[n])
        assert scored[n].total == pytest.approx(expected, abs=1e-4, rel=1e-5)
        [alone] = score_candidates(backbone, prompt, [candidates[n]])
        assert alone.total == pytest.approx(expected, abs=1e-4, rel=1e-5)
    assert score_candidates(backbone, prompt, []) == []


def test_candidates_of_one_token(backbone: Backbone, eager: LlamaForCausalLM) -> None:
    prompt = backbone.chat.encode_turn("x")
    with torch.inference_mode():
        log_p = eager(torch.tensor([prompt])).logits[0, -1].log_softmax(-1)
    every_token = [[i] for i in range(eager.config.vocab_size)]
    assert totals(backbone, prompt, every_token) == pytest.approx(log_p.tolist(), abs=1e-4)
    assert sum(log_p.exp().tolist()) == pytest.approx(1, abs=1e-5)


def test_mean_is_per_token() -> None:
    assert CandidateLikelihood(-6.0, 4).mean == -1.5


@pytest.mark.parametrize("pack_tokens", [30, 512])
def test_order_changes_no_score(backbone: Backbone, eager: LlamaForCausalLM, pack_tokens: int) -> None:
    prompt, candidates = random_case(eager, 5, count=30)
    order = random.Random(1).sample(range(30), 30)
    # In float64: in float32 a sum of this size is itself only known to 1e-5.
    exact = replace(backbone, model=get_double(backbone))
    straight = totals(exact, prompt, candidates, pack_tokens)
    shuffled = totals(exact, prompt, [candidates[n] for n in order], pack_tokens)
    assert shuffled == pytest.approx([straight[n] for n in order], abs=1e-6, rel=0)


def get_double(backbone: Backbone) -> LlamaForCausalLM:
    folder = backbone.name
    return LlamaForCausalLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="sdpa").eval()


def test_nothing_to_score_is_an_error(backbone: Backbone) -> None:
    with pytest.raises(ValueError, match="at least one token"):
        score_candidates(backbone, [5], [[6], []])
    with pytest.raises(ValueError, match="at least one token"):
        score_candidates(backbone, [], [[6]])


def test_likelihoods_that_are_no_numbers_are_refused(backbone: Backbone) -> None:
    """As in float16, where they overflow: they would rank in the order of the prompt."""
    broken = replace(backbone, model=sharing_weights(backbone.model))
    broken.model.model.norm.weight = torch.nn.Parameter(torch.full_like(broken.model.model.norm.weight, float("inf")))
    with pytest.raises(
        ConfigurationError, match=r"^dtype: the likelihoods that the backbone computes in float32 are no num"
    ):
        score_candidates(broken, [5, 6], [[7, 8], [9]])
    assert all(c.total < 0 for c in score_candidates(backbone, [5, 6], [[7, 8], [9]]))


def test_cancelled_between_packs(backbone: Backbone) -> None:
    asked: list[int] = []

    def cancelled() -> bool:
        asked.append(1)
        return len(asked) == 3

    with pytest.raises(RunCancelled):
        score_candidates(backbone, [5, 6], [[7, 8]] * 10, pack_tokens=4, cancelled=cancelled)
    assert len(asked) == 3


def test_bfloat16_stays_near(tiny_llama: Path, backbone: Backbone) -> None:
    half = get_backbone(BackboneConfig(backbone=str(tiny_llama), dtype="bfloat16"))
    prompt = backbone.chat.encode_turn("Please recommend the next item")
    candidates = [backbone.chat.encode_answer(title) for title in TITLES]
    near = [c.mean for c in score_candidates(half, prompt, candidates)]
    assert near == pytest.approx([c.mean for c in score_candidates(backbone, prompt, candidates)], abs=0.2)


@pytest.mark.slow
def test_smollm2_packed_equals_one_by_one(smollm2: Backbone, smollm2_eager: LlamaForCausalLM) -> None:
    request = (
        "A user has bought Red boots; Warm gloves in the previous. Please recommend the next item for this user to buy "
        f"from the following item title set: {'; '.join(TITLES)}. The recommendation is"
    )
    prompt = smollm2.chat.encode_turn(request)
    candidates = [smollm2.chat.encode_answer(title) for title in TITLES]
    expected = [reference(smollm2_eager, prompt, c) for c in candidates]
    for pack_tokens in (20, 512):
        assert totals(smollm2, prompt, candidates, pack_tokens) == pytest.approx(expected, abs=1e-3, rel=1e-5)
    half = get_backbone(BackboneConfig(dtype="bfloat16"))
    near = [c.mean for c in score_candidates(half, prompt, candidates)]
    assert near == pytest.approx([e / len(c) for e, c in zip(expected, candidates, strict=True)], abs=0.2)
