"""Greedy decoding against a full recomputation at every step, and every reason to stop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import GenerationConfig, LlamaForCausalLM

from webrec.errors import ConfigurationError, RunCancelled
from webrec.models import decode_queue
from webrec.models.backbone import Backbone
from webrec.models.decode_step import DecodeStep
from webrec.models.decoding import Decoded, decode_greedily
from webrec.models.text_in_progress import TextInProgress, entropy_of, repeats_itself

PROMPT = "What does this user like, and which qualities should the next item have?"


def reference_entropy(logits: torch.Tensor) -> float:
    """Eq. 3 in float64, over what has a probability at all."""
    p = logits.double().softmax(-1)
    p = p[p > 0]
    return float(-(p * p.log()).sum())


def reference_decoding(model: LlamaForCausalLM, prompt: Sequence[int], steps: int) -> tuple[list[int], list[float]]:
    """Greedy decoding without a cache: the whole text again for every token."""
    ids: list[int] = []
    entropy: list[float] = []
    for _ in range(steps):
        with torch.inference_mode():
            logits = model(torch.tensor([[*prompt, *ids]]), use_cache=False).logits[0, -1]
        ids.append(int(logits.argmax()))
        entropy.append(reference_entropy(logits))
    return ids, entropy


def scripted(backbone: Backbone, script: Sequence[int]) -> Backbone:
    """The backbone with a model that is certain to write `script` after token 5; no token in it has two successors."""
    model = deepcopy(backbone.model)
    for layer in model.model.layers:  # what comes out is what went in
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
    after = dict(pairwise([5, *script]))
    directions = torch.nn.functional.normalize(model.model.norm(model.get_input_embeddings().weight), dim=-1)

    class Script(torch.nn.Module):
        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            read = (torch.nn.functional.normalize(hidden, dim=-1) @ directions.T).argmax(-1)
            logits = torch.full((*hidden.shape[:-1], len(directions)), -torch.inf)
            written = torch.tensor([after.get(token, 0) for token in read.flatten().tolist()]).view(read.shape)
            return logits.scatter_(-1, written[..., None], 0.0)

    model.lm_head = Script()
    return replace(backbone, model=model)


@pytest.mark.parametrize("prompt", [PROMPT, "Größe und süß", "保湿クリーム", "a"])
def test_equals_a_full_recomputation(backbone: Backbone, eager: LlamaForCausalLM, prompt: str) -> None:
    # In float64, so that what differs is the method and not the rounding of a tiny, badly conditioned model.
    exact = replace(backbone, model=deepcopy(backbone.model).double())
    ids = backbone.chat.encode_turn(prompt)
    decoded = decode_greedily(exact, ids, 40)
    expected_ids, expected_entropy = reference_decoding(deepcopy(eager).double(), ids, 40)
    assert (decoded.ids, decoded.stop) == (expected_ids, "limit")
    assert decoded.entropy == pytest.approx(expected_entropy, abs=1e-5)
    assert len(set(decoded.ids)) > 20  # the fixture does write


def test_the_generation_config_of_the_model_changes_nothing(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = backbone.chat.encode_turn(PROMPT)
    before = decode_greedily(backbone, prompt, 20)
    meddling = GenerationConfig(
        do_sample=True, temperature=9.0, repetition_penalty=50.0, top_k=5, suppress_tokens=before.ids, max_new_tokens=2
    )
    monkeypatch.setattr(backbone.model, "generation_config", meddling)
    assert decode_greedily(backbone, prompt, 20) == before


def test_stops_at_an_end_token_and_leaves_it_out(backbone: Backbone) -> None:
    for end in backbone.chat.end_ids:
        decoded = decode_greedily(scripted(backbone, [20, 21, end, 22]), [5], 10)
        assert decoded == Decoded([20, 21], [0.0, 0.0], "end")
    assert decode_greedily(scripted(backbone, [min(backbone.chat.end_ids)]), [5], 10) == Decoded([], [], "end")


def test_stops_at_the_limit(backbone: Backbone) -> None:
    assert decode_greedily(scripted(backbone, [20, 21, 22, 23]), [5], 3).stop == "limit"
    assert decode_greedily(backbone, [5], 0) == Decoded([], [], "limit")


def test_stops_at_a_repetition(backbone: Backbone) -> None:
    one = decode_greedily(scripted(backbone, [20] * 100), [5], 90)
    assert (len(one.ids), one.stop) == (12, "repetition")
    seven = decode_greedily(scripted(backbone, [9, 8, *[20, 21, 22, 23, 24, 25, 26] * 10]), [5], 60)
    assert (len(seven.ids), seven.stop) == (2 + 21, "repetition")


def test_reports_each_token_and_stops_when_cancelled(backbone: Backbone) -> None:
    seen: list[int] = []
    prompt = backbone.chat.encode_turn(PROMPT)
    with pytest.raises(RunCancelled):
        decode_greedily(backbone, prompt, 40, on_token=seen.append, cancelled=lambda: len(seen) == 3)
    assert seen == decode_greedily(backbone, prompt, 3).ids


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0, 1e4])
def test_entropy_equals_float64(scale: float) -> None:
    logits = torch.randn(50, 3000, generator=torch.Generator().manual_seed(0)) * scale
    logits[::2, ::3] = -torch.inf
    expected = [reference_entropy(row) for row in logits]
    assert entropy_of(logits).tolist() == pytest.approx(expected, abs=2e-5)


def test_what_is_no_number_is_refused() -> None:
    assert math.isnan(float(entropy_of(torch.tensor([1.0, float("nan"), 0.0]))))
    assert float(entropy_of(torch.tensor([0.0, float("-inf"), 0.0]))) == pytest.approx(math.log(2))
    text = TextInProgress([1], 5, frozenset(), None)
    with pytest.raises(ConfigurationError, match=r"^dtype: "):
        text.take(0, float("nan"))


def test_entropy_of_certainty_and_of_ignorance() -> None:
    certain = torch.full((64,), -torch.inf)
    certain[3] = 5.0
    assert float(entropy_of(certain)) == 0.0
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        assert float(entropy_of(torch.zeros(64, dtype=dtype))) == pytest.approx(4.158883083, abs=1e-5)


def naive_repeats(ids: list[int]) -> bool:
    for period in range(1, 33):
        times = 3
        while period * times < 12:
            times += 1
        if len(ids) >= period * times and ids[-period * times :] == ids[-period:] * times:
            return True
    return False


tokens = st.lists(st.integers(0, 2), max_size=60)
endings = st.tuples(st.lists(st.integers(0, 2), min_size=1, max_size=34), st.integers(1, 13))


@given(tokens, endings, st.integers(0, 3))
def test_repetition_is_what_it_says(start: list[int], ending: tuple[list[int], int], cut: int) -> None:
    ids = start + ending[0] * ending[1]
    ids = ids[: len(ids) - cut]
    assert repeats_itself(ids) == naive_repeats(ids)


@pytest.mark.parametrize("period", range(1, 34))
def test_one_token_less_is_no_repetition(period: int) -> None:
    enough = list(range(period)) * max(3, -(-12 // period))
    assert repeats_itself([99, *enough]) == (period <= 32)
    assert not repeats_itself([99, *enough[1:]])


def test_guesses_change_no_token_and_save_passes(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = replace(backbone, model=deepcopy(backbone.model).double())
    prompt = backbone.chat.encode_turn(PROMPT)
    passes: list[int] = []
    step = DecodeStep.__call__

    def counted(self: DecodeStep, ids: torch.Tensor, *others: Any) -> Any:
        passes.append(ids.shape[1])
        return step(self, ids, *others)

    monkeypatch.setattr(DecodeStep, "__call__", counted)
    prompt += decode_greedily(exact, prompt, 40).ids  # so that what comes next has been seen
    prompt = [*prompt, *backbone.chat.encode_turn(PROMPT)]
    found = {}
    for looked_up in (0, 3):
        monkeypatch.setattr(decode_queue, "LOOKED_UP", looked_up)
        passes.clear()
        found[looked_up] = decode_greedily(exact, prompt, 60)
        if looked_up == 0:
            assert passes == [1] * 59
    assert found[0].ids == found[3].ids
    assert found[0].entropy == pytest.approx(found[3].entropy, abs=1e-6)
    seven = decode_greedily(scripted(backbone, [9, 8, *[20, 21, 22, 23, 24, 25, 26] * 10]), [5], 60)
    passes.clear()
    assert decode_greedily(scripted(backbone, [9, 8, *[20, 21, 22, 23, 24, 25, 26] * 10]), [5], 60) == seven
    assert len(passes) < len(seven.ids) - 5  # the second and third time round were guessed
