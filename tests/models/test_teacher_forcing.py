"""A text read in one pass: the numbers of decoding it, cut where decoding would have stopped."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaForCausalLM

from webrec.models import influence as influence_module
from webrec.models.backbone import Backbone
from webrec.models.decoding import decode_greedily
from webrec.models.influence import influence
from webrec.models.teacher_forcing import cut_text, read_text
from webrec.models.text_in_progress import StopReason, TextInProgress

from .test_influence import LargestTensor, random_ids, reference

QUESTION = "What does this user like, and which qualities should the next item have?"


def test_reading_what_was_decoded_gives_what_decoding_gave(backbone: Backbone) -> None:
    exact = replace(backbone, model=deepcopy(backbone.model).double())
    prompt = exact.chat.encode_turn(QUESTION)
    decoded = decode_greedily(exact, prompt, 90)
    forced = read_text(exact, prompt, decoded.ids, decoded.stop, None)
    assert (forced.decoded.ids, forced.decoded.stop, forced.agreement) == (decoded.ids, decoded.stop, 1.0)
    assert forced.decoded.entropy == pytest.approx(decoded.entropy, abs=1e-6)


@pytest.mark.parametrize("rows", [1, 2, 64, 65, 130])
def test_any_text_equals_a_full_pass(backbone: Backbone, eager: LlamaForCausalLM, rows: int) -> None:
    prompt, ids = random_ids(eager, 17, 1), random_ids(eager, rows, 2)
    forced = read_text(backbone, prompt, ids, "limit", (-1, "mean"))
    with torch.inference_mode():
        logits = eager(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1].double()
    p = logits.softmax(-1)
    assert forced.decoded.entropy == pytest.approx((-(p * p.clamp_min(1e-300).log()).sum(-1)).tolist(), abs=1e-4)
    assert forced.agreement == pytest.approx((logits.argmax(-1) == torch.tensor(ids)).double().mean().item(), abs=1e-9)
    expected = reference(eager, prompt, ids, -1, "mean")
    assert influence(backbone, prompt, ids, -1, "mean") == pytest.approx(expected, abs=1e-5)


def test_one_pass_and_nothing_left_for_extraction(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[int] = []
    embedding = backbone.model.model.embed_tokens
    hook = embedding.register_forward_hook(lambda _module, args, _out: passes.append(args[0].shape[1]))
    monkeypatch.setattr(influence_module, "_computed", lambda *_: pytest.fail("it was measured already"))
    prompt, ids = backbone.chat.encode_turn("one pass"), backbone.chat.encode(QUESTION)
    try:
        read_text(backbone, prompt, ids, "end", (-1, "max"))
    finally:
        hook.remove()
    assert passes == [len(prompt) + len(ids)]
    assert len(influence(backbone, prompt, ids, -1, "max")) == len(ids)


def test_memory_grows_with_the_text_times_the_context(backbone: Backbone, eager: LlamaForCausalLM) -> None:
    prompt, ids = random_ids(eager, 700, 4), random_ids(eager, 20, 5)
    with LargestTensor() as seen:
        read_text(backbone, prompt, ids, "limit", (-1, "mean"))
    heads, length = eager.config.num_attention_heads, len(prompt) + len(ids)
    assert seen.elements < heads * length**2 / 4


def test_no_text(backbone: Backbone) -> None:
    forced = read_text(backbone, [5], [], "end", (-1, "mean"))
    assert (forced.decoded.ids, forced.decoded.entropy, forced.decoded.stop, forced.agreement) == ([], [], "end", None)


@given(
    st.lists(st.integers(0, 2), max_size=6),
    st.lists(st.integers(0, 3), max_size=4),
    st.integers(1, 12),
    st.integers(1, 40),
)
def test_it_stops_where_our_own_decoder_stops(start: list[int], period: list[int], times: int, limit: int) -> None:
    """Token 3 ends a text. A server that knows no repetition goes on to the limit, or to an end that it does not tell."""
    written = (start + period * times)[:limit]
    own: Any = TextInProgress([9], limit, frozenset({3}), None)
    for token in [*written, 3]:
        if not own.done:
            own.take(token, 0.0)
    told: StopReason = "end" if len(written) < limit else "limit"
    assert cut_text(written, limit, frozenset({3}), told) == (own.ids, own.stop)
