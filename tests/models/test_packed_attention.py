"""Attention that is taken apart against the plain softmax in float64."""

from __future__ import annotations

from copy import deepcopy
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import DynamicCache

from webrec.models import onednn_linear, packed_attention
from webrec.models.backbone import Backbone
from webrec.models.packed_attention import PackLayout, for_packs, read_prompt
from webrec.models.scoring import score_candidates

CPU = torch.device("cpu")


def reference(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Every head, row and column, in float64; shape (rows, heads, width)."""
    groups = query.shape[1] // key.shape[1]
    key, value = (t[0].double().repeat_interleave(groups, 0) for t in (key, value))
    scores = query[0].double() @ key.mT / query.shape[-1] ** 0.5
    return (scores.masked_fill(~seen, -torch.inf).softmax(-1) @ value).transpose(0, 1)


def seen_by(lengths: list[int], prompt: int, cached: int) -> torch.Tensor:
    """Row by row, which columns it sees: `cached` of the prompt came in an earlier pass."""
    total = cached + prompt + sum(lengths)
    seen = torch.zeros(prompt + sum(lengths), total, dtype=torch.bool)
    for row in range(prompt):
        seen[row, : row + 1] = True
    start = prompt
    for length in lengths:
        for step in range(length):
            seen[start + step, : cached + prompt] = True
            seen[start + step, cached + start : cached + start + step + 1] = True
        start += length
    return seen


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 9), max_size=8),
    before=st.integers(1, 20),
    cached=st.booleans(),
    kv_heads=st.sampled_from([1, 2, 3]),
    groups=st.sampled_from([1, 3]),
    taken_apart=st.booleans(),
    last_alone=st.booleans(),
    block=st.sampled_from([1, 3, 64]),
    widths=st.sampled_from([1, 2, 12]),
    onednn=st.booleans() if hasattr(torch.ops.mkldnn, "_linear_pointwise") else st.just(False),
)
def test_equals_the_reference(
    lengths: list[int],
    before: int,
    cached: bool,
    kv_heads: int,
    groups: int,
    taken_apart: bool,
    last_alone: bool,
    block: int,
    widths: int,
    onednn: bool,
) -> None:
    prompt = 0 if cached and sum(lengths) else before
    before_pass = before - prompt
    rows, columns = prompt + sum(lengths), before + sum(lengths)
    draw = torch.Generator().manual_seed(columns)
    # As transformers hands them over: transposed views.
    query = torch.randn(1, rows, kv_heads * groups, 16, generator=draw).transpose(1, 2) * 3
    key, value = (torch.randn(1, columns, kv_heads, 16, generator=draw).transpose(1, 2) for _ in range(2))
    with pytest.MonkeyPatch.context() as patch:
        if not taken_apart:
            patch.setattr(packed_attention, "taken_apart", lambda _: False)
        patch.setattr(onednn_linear, "is_quicker", lambda: onednn)
        patch.setattr(packed_attention, "_ROWS", block)
        patch.setattr(packed_attention, "_CANDIDATES_ROWS", block)
        patch.setattr(packed_attention, "_WIDTHS", widths)
        layout = PackLayout.of(lengths, before, CPU, query.dtype)
        assert (layout.mask is None) == taken_apart
        module = SimpleNamespace(num_key_value_groups=groups)
        asked = query[:, :, max(prompt - 1, 0) :] if last_alone else query
        read, weights = packed_attention.attention(module, asked, key, value, None, 16**-0.5, layout)
    assert weights is None
    expected = reference(query, key, value, seen_by(lengths, prompt, before_pass))[-asked.shape[2] :]
    assert torch.allclose(read[0].double(), expected, atol=1e-5)


@pytest.mark.parametrize(("dtype", "off"), [(torch.float64, 1e-12), (torch.bfloat16, 0.04), (torch.float16, 0.005)])
def test_other_number_formats(dtype: torch.dtype, off: float) -> None:
    lengths, prompt = [70, 3, 9], 130
    rows = prompt + sum(lengths)
    draw = torch.Generator().manual_seed(1)
    query, key, value = (
        torch.randn(1, rows, heads, 16, generator=draw, dtype=torch.float64).transpose(1, 2).to(dtype)
        for heads in (6, 2, 2)
    )
    layout = PackLayout.of(lengths, prompt, CPU, dtype)
    read, _ = packed_attention.attention(SimpleNamespace(), query, key, value, None, 0.25, layout)
    expected = reference(query, key, value, seen_by(lengths, prompt, 0))
    assert read.dtype == dtype
    torch.testing.assert_close(read[0].double(), expected, rtol=0, atol=off)


def test_scores_are_the_same_where_attention_cannot_be_taken_apart(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt, candidates = [5, 6, 7, 8], [[9, 10, 11], [12], [13] * 9]
    expected = [c.total for c in score_candidates(backbone, prompt, candidates)]
    monkeypatch.setattr(packed_attention, "taken_apart", lambda _: False)
    for pack_tokens in (4, 512):
        got = [c.total for c in score_candidates(backbone, prompt, candidates, pack_tokens=pack_tokens)]
        assert got == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("apart", [True, False])
def test_a_prompt_is_read_as_the_model_reads_it(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch, apart: bool
) -> None:
    monkeypatch.setattr(packed_attention, "taken_apart", lambda _: apart)
    monkeypatch.setattr(packed_attention, "_in_blocks", lambda _: apart)
    model = deepcopy(backbone.model).double()
    ids = torch.arange(5, 5 + 150)[None] % 30  # more than two blocks of rows
    cache, plain = (DynamicCache(config=model.config) for _ in range(2))
    with torch.inference_mode():
        logits = read_prompt(model, ids, cache)
        expected = model(ids, past_key_values=plain, use_cache=True).logits[0, -1]
    torch.testing.assert_close(logits, expected)
    for one, other in zip(cache.layers, plain.layers, strict=True):
        torch.testing.assert_close(one.keys, other.keys)
        torch.testing.assert_close(one.values, other.values)


def test_the_model_stays_as_it_was(backbone: Backbone) -> None:
    model = backbone.model
    before = {name: id(module) for name, module in model.named_modules()}
    decoder = for_packs(model)
    assert {name: id(module) for name, module in model.named_modules()} == before
    assert model.config._attn_implementation == "sdpa"
    assert model.model.layers[0].self_attn.config._attn_implementation == "sdpa"
    assert [id(p) for p in decoder.parameters()] == [id(p) for p in model.model.parameters()]
    assert decoder.layers[0].self_attn is not model.model.layers[0].self_attn


def test_padding_never_more_than_doubles_a_group() -> None:
    layout = PackLayout.of([300, 1, 2, 1, 0, 299, 3], 5, CPU, torch.float32)
    assert all(real.numel() <= 2 * int(real.sum()) for _, real in layout.groups)
    places = torch.cat([at[real] for at, real in layout.groups]).tolist()
    assert sorted(places) == list(range(606))
