"""Drafts in 4 bits: the same text, in fewer passes."""

from __future__ import annotations

import gc
from typing import Any
from weakref import ref

import pytest
import torch
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from webrec.models import decode_queue, int8_in_float
from webrec.models.decode_queue import DecodeQueue
from webrec.models.decode_step import DecodeStep, StepCache
from webrec.models.draft import draft_of
from webrec.models.int4 import is_fast
from webrec.models.text_in_progress import FIRST_DRAFT, LONGEST_DRAFT, TextInProgress

pytestmark = pytest.mark.skipif(not is_fast(), reason="this torch or CPU has no quick 4-bit products")

PROMPT = list(range(3, 33))


@pytest.fixture(autouse=True)
def _quick_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    """What drafts do is the same on CPUs where they do not pay."""
    monkeypatch.setattr(int8_in_float, "is_needed", lambda: False)


def small(**changed: Any) -> LlamaForCausalLM:
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "vocab_size": 1024,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "initializer_range": 0.3,
    }
    return LlamaForCausalLM(LlamaConfig(**settings | changed)).eval().requires_grad_(False)


def written(model: LlamaForCausalLM, limit: int = 60, ends: frozenset[int] = frozenset()) -> TextInProgress:
    text = TextInProgress(PROMPT, limit, ends, (1, "mean"))
    DecodeQueue().write(model, [text], lambda _: None, lambda: False)
    return text


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, int]]:
    """The step and number of tokens of each pass."""
    seen: list[tuple[Any, int]] = []
    step = DecodeStep.__call__

    def counted(self: DecodeStep, ids: torch.Tensor, *others: Any) -> Any:
        seen.append((self, ids.shape[1]))
        return step(self, ids, *others)

    monkeypatch.setattr(DecodeStep, "__call__", counted)
    return seen


@pytest.mark.parametrize("settings", [{}, {"attention_bias": True, "mlp_bias": True}])
def test_the_text_is_that_of_the_model_alone(
    settings: dict[str, Any], passes: list[tuple[Any, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small(**settings)
    drafted = written(model)
    exact = decode_queue.step_of(model)
    of_the_model = [tokens for step, tokens in passes if step is exact]
    assert len(of_the_model) < 50
    assert max(of_the_model) > 2
    passes.clear()
    monkeypatch.setattr(decode_queue, "draft_of", lambda _: None)
    monkeypatch.setattr(decode_queue, "LOOKED_UP", 0)
    alone = written(model)
    assert [tokens for _, tokens in passes] == [1] * 60
    assert (drafted.ids, drafted.stop) == (alone.ids, alone.stop)
    assert drafted.entropy == pytest.approx(alone.entropy, abs=1e-4)
    assert drafted.influence == pytest.approx(alone.influence, abs=1e-5)
    end = alone.ids[30]
    cut = written(model, ends=frozenset({end}))
    assert (cut.ids, cut.stop) == (alone.ids[: alone.ids.index(end)], "end")


def test_a_draft_leaves_the_cache_as_it_was() -> None:
    model = small()
    draft = draft_of(model)
    assert draft is not None
    with torch.inference_mode():
        filled: Any = DynamicCache(config=model.config)
        model(torch.tensor([PROMPT]), past_key_values=filled)
        cache = StepCache([filled], 40)
        text = TextInProgress(PROMPT, 40, frozenset(), None)
        text.take(7, 0.0)
        guess = draft.write(text, cache)
        assert (len(guess), cache.held) == (FIRST_DRAFT, len(PROMPT))
        logits, _ = DecodeStep(model)(torch.tensor([[7, *guess]]), cache)
        expected = model(torch.tensor([[*PROMPT, 7, *guess]])).logits[:, len(PROMPT) :]
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
        stopping = TextInProgress(PROMPT, 40, frozenset({guess[1]}), None)
        stopping.take(7, 0.0)
        cache.held = len(PROMPT)
        assert draft.write(stopping, cache) == guess[: guess.index(guess[1]) + 1]
        short = TextInProgress(PROMPT, 4, frozenset(), None)
        short.take(7, 0.0)
        assert draft.write(short, cache) == guess[:2]


def test_how_long_the_next_draft_is() -> None:
    text = TextInProgress(PROMPT, 40, frozenset(), None)
    assert text.drafted == FIRST_DRAFT
    for _ in range(LONGEST_DRAFT):
        text.learn_from_draft(text.drafted, text.drafted)
    assert text.drafted == LONGEST_DRAFT
    text.learn_from_draft(LONGEST_DRAFT, 3)
    assert text.drafted == 3
    text.learn_from_draft(3, 0)
    assert text.drafted == 1


def test_where_there_is_none() -> None:
    class Own(torch.nn.Linear):
        pass

    assert draft_of(small().double()) is None
    assert draft_of(small(intermediate_size=120)) is None
    changed = small()
    changed.model.layers[1].mlp.up_proj = Own(64, 128, bias=False)
    assert draft_of(changed) is None


def test_none_where_8_bit_products_are_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8_in_float, "is_needed", lambda: True)
    assert draft_of(small()) is None


def test_a_draft_is_made_once_and_goes_with_its_model() -> None:
    model = small()
    assert draft_of(model) is draft_of(model)
    gone = ref(model)
    del model
    gc.collect()
    assert gone() is None
