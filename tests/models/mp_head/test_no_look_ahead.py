"""No logit depends on a later answer token, and a cache changes nothing."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache, StaticCache

from .attached import HEADS, TUNINGS, Attached, attach, before, load, tokens

LENGTH, PROMPT = 13, 8


def full_pass(attached: Attached, ids: Tensor) -> Tensor:
    """Prompt and answer in one pass."""
    mask = torch.tensor([before(ids.shape[1], PROMPT)] * len(ids))
    return attached.logits(ids, node_mask=mask)


def prefill(attached: Attached, ids: Tensor, cache: Any, **inputs: Any) -> Tensor:
    """The prompt into `cache`; the soft prompt too, as PEFT's `generate` does."""
    llama = attached.llama
    virtual = attached.virtual().to(llama.dtype).expand(len(ids), -1, -1)
    embeds = torch.cat([virtual, llama.model.embed_tokens(ids)], 1)
    with torch.no_grad():
        logits: Tensor = llama(inputs_embeds=embeds, past_key_values=cache, use_cache=True, **inputs).logits
    return logits[:, virtual.shape[1] :]


def proceed(attached: Attached, ids: Tensor, cache: Any, **inputs: Any) -> Tensor:
    with torch.no_grad():
        logits: Tensor = attached.llama(ids, past_key_values=cache, use_cache=True, **inputs).logits
    return logits


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("head", HEADS)
def test_answer_tokens_change_no_earlier_logit(tiny_llama: Path, head: str, seed: int) -> None:
    attached = attach(load(tiny_llama), TUNINGS[seed % 2], seed, **HEADS[head] | {"layers": (0, 1)})
    ids = tokens(attached.llama, 1, LENGTH, seed)
    expected = full_pass(attached, ids)
    for place in range(PROMPT, LENGTH):
        changed = ids.clone()
        changed[0, place:] = tokens(attached.llama, 1, LENGTH - place, seed + 50)
        changed[0, place] = (ids[0, place] + 7) % 500 + 4
        found = full_pass(attached, changed)
        torch.testing.assert_close(found[:, :place], expected[:, :place], rtol=0, atol=1e-10)
        assert (found[:, place] - expected[:, place]).abs().max() > 1e-3


@pytest.mark.parametrize("head", HEADS)
def test_the_prompt_is_read_in_both_directions(tiny_llama: Path, head: str) -> None:
    """The control: a later prompt token changes earlier logits, as long as the head is attached."""
    attached = attach(load(tiny_llama), **HEADS[head] | {"top_k": None, "layers": (0,)})
    ids = tokens(attached.llama, 1, LENGTH)
    changed = ids.clone()
    changed[0, PROMPT - 1] = (ids[0, PROMPT - 1] + 7) % 500 + 4
    difference = (full_pass(attached, ids) - full_pass(attached, changed))[0].abs().amax(-1)
    assert difference.min() > 1e-4
    attached.head.detach()
    difference = (attached.logits(ids) - attached.logits(changed))[0].abs().amax(-1)
    assert difference[: PROMPT - 1].max() < 1e-10


@pytest.mark.parametrize("kind", ["dynamic", "static"])
@pytest.mark.parametrize("tuning", TUNINGS)
@pytest.mark.parametrize("head", HEADS)
def test_token_by_token_equals_one_pass(tiny_llama: Path, head: str, tuning: str, kind: str) -> None:
    attached = attach(load(tiny_llama), tuning, **HEADS[head])
    ids = tokens(attached.llama, 2, LENGTH)
    config = attached.llama.config
    cache = DynamicCache(config=config) if kind == "dynamic" else StaticCache(config=config, max_cache_len=20)
    found = [prefill(attached, ids[:, :PROMPT], cache)]
    found += [proceed(attached, ids[:, t : t + 1], cache) for t in range(PROMPT, LENGTH)]
    torch.testing.assert_close(torch.cat(found, 1), full_pass(attached, ids), rtol=0, atol=1e-8)


def test_several_answer_tokens_at_once(tiny_llama: Path) -> None:
    attached = attach(load(tiny_llama), **HEADS["pairwise"])
    ids, cache = tokens(attached.llama, 2, LENGTH), DynamicCache()
    found = [prefill(attached, ids[:, :PROMPT], cache)]
    no_nodes = torch.zeros(2, 3, dtype=torch.bool)
    found.append(proceed(attached, ids[:, PROMPT : PROMPT + 3], cache, node_mask=no_nodes))
    found.append(proceed(attached, ids[:, PROMPT + 3 :], cache, node_mask=no_nodes[:, :2]))
    torch.testing.assert_close(torch.cat(found, 1), full_pass(attached, ids), rtol=0, atol=1e-8)


def test_prompt_and_first_answer_tokens_in_the_first_pass(tiny_llama: Path) -> None:
    attached = attach(load(tiny_llama), **HEADS["literal"])
    ids, cache, split = tokens(attached.llama, 1, LENGTH), DynamicCache(), PROMPT + 2
    found = [prefill(attached, ids[:, :split], cache, node_mask=torch.tensor([before(split, PROMPT)]))]
    found += [proceed(attached, ids[:, t : t + 1], cache) for t in range(split, LENGTH)]
    torch.testing.assert_close(torch.cat(found, 1), full_pass(attached, ids), rtol=0, atol=1e-8)


def test_a_left_padded_batch_token_by_token(tiny_llama: Path) -> None:
    attached = attach(load(tiny_llama), **HEADS["others"])
    ids, cache = tokens(attached.llama, 3, LENGTH), DynamicCache()
    real = torch.ones(3, LENGTH, dtype=torch.long)
    real[0, :5], real[2, :7] = 0, 0
    found = [prefill(attached, ids[:, :PROMPT], cache, attention_mask=real[:, :PROMPT])]
    for t in range(PROMPT, LENGTH):
        found.append(proceed(attached, ids[:, t : t + 1], cache, attention_mask=real[:, : t + 1]))
    logits = torch.cat(found, 1)
    for row, padding in enumerate((5, 0, 7)):
        expected = attached.by_hand(
            ids[row, padding:].tolist(), before(LENGTH - padding, PROMPT - padding), padding=padding
        )
        torch.testing.assert_close(logits[row, padding:], expected, rtol=0, atol=1e-8)


def test_the_states_follow_the_cache(tiny_llama: Path) -> None:
    """Through copies, repeats, choices and permutations of rows, and cuts of the answer."""
    attached = attach(load(tiny_llama), **HEADS["pairwise"])
    ids, cache = tokens(attached.llama, 3, LENGTH), DynamicCache()
    expected = full_pass(attached, ids)[:, PROMPT]
    prefill(attached, ids[:, :PROMPT], cache)
    after = ids[:, PROMPT : PROMPT + 1]

    def same(rows: list[int], changed: Any) -> None:
        torch.testing.assert_close(proceed(attached, after[rows], changed)[:, 0], expected[rows], rtol=0, atol=1e-8)

    copied = copy.deepcopy(cache)
    same([0, 1, 2], copied)
    copied.crop(-1)
    same([0, 1, 2], copied)
    repeated = copy.deepcopy(cache)
    repeated.batch_repeat_interleave(2)
    same([0, 0, 1, 1, 2, 2], repeated)
    chosen = copy.deepcopy(cache)
    chosen.batch_select_indices(torch.tensor([2, 0]))
    same([2, 0], chosen)
    chosen.crop(-1)
    chosen.reorder_cache(torch.tensor([1, 1]))
    same([0, 0], chosen)


def test_a_reset_cache_takes_another_prompt(tiny_llama: Path) -> None:
    attached = attach(load(tiny_llama), **HEADS["literal"])
    cache = StaticCache(config=attached.llama.config, max_cache_len=16)
    for seed in range(3):
        ids = tokens(attached.llama, 1, LENGTH, seed)
        cache.reset()
        found = [prefill(attached, ids[:, :PROMPT], cache)]
        found += [proceed(attached, ids[:, t : t + 1], cache) for t in range(PROMPT, LENGTH)]
        torch.testing.assert_close(torch.cat(found, 1), full_pass(attached, ids), rtol=0, atol=1e-8)
