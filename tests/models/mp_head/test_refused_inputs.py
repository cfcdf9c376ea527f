"""What the head cannot compute exactly is refused in one sentence, never computed differently."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache

from webrec.errors import ConfigurationError

from .attached import HEADS, Attached, attach, before, load, tokens


def filled(attached: Attached, ids: Tensor) -> DynamicCache:
    cache = DynamicCache()
    with torch.no_grad():
        attached.llama(ids, past_key_values=cache, use_cache=True)
    return cache


def refused(match: str, attached: Attached, ids: Tensor, **inputs: Any) -> None:
    with torch.no_grad(), pytest.raises(ConfigurationError, match=match):
        attached.llama(ids, **inputs)


def test_continuations(tiny_llama: Path) -> None:
    attached = attach(load(tiny_llama), **HEADS["literal"])
    ids = tokens(attached.llama, 2, 9)
    more, cache = ids[:, :2], filled(attached, ids)
    refused("node_mask: 2 tokens follow 9", attached, more, past_key_values=cache)
    one_node = torch.tensor([[False, False], [False, True]])
    refused("node_mask: prompt tokens after 9", attached, more, past_key_values=cache, node_mask=one_node)
    refused("node_mask: ", attached, more[:, :1], past_key_values=cache, node_mask=torch.ones(2, 1, dtype=torch.bool))
    # Refusals come before anything is computed: the cache still serves.
    assert cache.get_seq_length() == 9
    attached.llama(more[:, :1], past_key_values=cache)


def test_a_cache_that_the_head_did_not_fill(tiny_llama: Path) -> None:
    attached = attach(load(tiny_llama), **HEADS["literal"])
    ids = tokens(attached.llama, 1, 9)
    attached.head.detach()
    cache = filled(attached, ids)
    attached.head.attach(attached.model)
    refused("past_key_values: .*without the head", attached, ids[:, :1], past_key_values=cache)


def test_a_cache_whose_prompt_was_cut(tiny_llama: Path) -> None:
    attached = attach(load(tiny_llama), **HEADS["literal"])
    ids = tokens(attached.llama, 1, 9)
    cache = filled(attached, ids)
    cache.crop(-2)
    refused("past_key_values: .*compute the prompt again", attached, ids[:, :1], past_key_values=cache)


@pytest.mark.parametrize("shape", [(9,), (1, 9), (2, 8), (2, 10), (2, 9, 1)])
def test_a_node_mask_of_another_shape(tiny_llama: Path, shape: tuple[int, ...]) -> None:
    attached = attach(load(tiny_llama), **HEADS["literal"])
    refused(
        "node_mask: its shape", attached, tokens(attached.llama, 2, 9), node_mask=torch.ones(shape, dtype=torch.bool)
    )


def test_a_mask_of_four_dimensions_needs_a_node_mask(tiny_llama: Path) -> None:
    attached = attach(load(tiny_llama), **HEADS["literal"])
    ids, causal = tokens(attached.llama, 1, 9), torch.ones(1, 1, 9, 9, dtype=torch.bool).tril()
    refused("node_mask: ", attached, ids, attention_mask=causal)
    nodes = torch.tensor([before(9, 6)])
    found = attached.logits(ids, attention_mask=causal, node_mask=nodes)
    torch.testing.assert_close(found, attached.logits(ids, node_mask=nodes), rtol=0, atol=1e-10)


def test_training_must_say_what_the_prompt_is(tiny_llama: Path) -> None:
    attached = attach(load(tiny_llama), **HEADS["literal"])
    attached.model.train()
    ids = tokens(attached.llama, 1, 9)
    with pytest.raises(ConfigurationError, match="node_mask: a training pass"):
        attached.model(input_ids=ids)


def test_inputs_by_position_mean_the_same(tiny_llama: Path) -> None:
    """`model(ids, mask)`: padding is no node, however the mask is handed over."""
    attached = attach(load(tiny_llama), **HEADS["literal"] | {"top_k": None})
    ids, real = tokens(attached.llama, 2, 9), torch.ones(2, 9, dtype=torch.long)
    real[0, :4] = 0
    expected = attached.logits(ids, attention_mask=real)
    with torch.no_grad():
        decoder = attached.llama.lm_head(attached.llama.model(ids, real).last_hidden_state)
        outer = [model(ids, real).logits for model in (attached.model, attached.llama)]
    for found in (decoder, *outer):
        torch.testing.assert_close(found[0, 4:], expected[0, 4:], rtol=0, atol=1e-10)


def test_a_cache_by_position(tiny_llama: Path) -> None:
    attached = attach(load(tiny_llama), **HEADS["literal"])
    ids, cache = tokens(attached.llama, 1, 9), DynamicCache()
    with torch.no_grad():
        attached.llama(ids[:, :8], None, None, cache, use_cache=True)
        found = attached.llama(ids[:, 8:], None, None, cache).logits
        decoder = attached.llama.lm_head(attached.llama.model(ids[:, 8:], None, None, filled(attached, ids[:, :8]))[0])
    expected = attached.logits(ids, node_mask=torch.tensor([before(9, 8)]))[:, 8:]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(decoder, expected, rtol=0, atol=1e-10)


def test_labels_by_name_with_a_mask_by_position(tiny_llama: Path) -> None:
    attached = attach(load(tiny_llama), **HEADS["literal"] | {"top_k": None})
    ids, real = tokens(attached.llama, 2, 9), torch.ones(2, 9, dtype=torch.long)
    real[0, :4] = 0
    labels = ids.clone()
    labels[:, :7] = -100
    expected = attached.logits(ids, attention_mask=real, labels=labels)
    for model in (attached.model, attached.llama):
        with torch.no_grad():
            found = model(ids, real, labels=labels).logits
        torch.testing.assert_close(found[0, 4:], expected[0, 4:], rtol=0, atol=1e-10)


def test_a_model_whose_cache_is_off_by_itself(tiny_llama: Path) -> None:
    """As gradient checkpointing leaves it: nobody says so in the call."""
    attached = attach(load(tiny_llama), **HEADS["literal"])
    ids = tokens(attached.llama, 1, 9)
    attached.llama.config.use_cache = False
    refused("node_mask: without a cache", attached, ids)
    attached.logits(ids, node_mask=torch.tensor([before(9, 6)]))
