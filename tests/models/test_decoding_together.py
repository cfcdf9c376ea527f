"""Decoding together against decoding one prompt at a time."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch

from webrec.errors import ConfigurationError, RunCancelled
from webrec.models import decode_queue
from webrec.models.backbone import Backbone
from webrec.models.decoding import decode_greedily, decode_together
from webrec.models.text_in_progress import TextInProgress, entropy_of

TEXTS = ["What does this user like?", "a", "Größe und süß, and a longer text than the others have to read first", "b c"]


@pytest.fixture
def exact(backbone: Backbone) -> Backbone:
    """In float64, so that no rounding decides between two tokens."""
    return replace(backbone, model=deepcopy(backbone.model).double())


def test_each_prompt_gets_what_it_gets_alone(exact: Backbone) -> None:
    prompts = [exact.chat.encode_turn(text) for text in TEXTS]
    together = decode_together(exact, prompts, 30)
    for prompt, decoded in zip(prompts, together, strict=True):
        alone = decode_greedily(exact, prompt, 30)
        assert (decoded.ids, decoded.stop) == (alone.ids, alone.stop)
        assert decoded.entropy == pytest.approx(alone.entropy, abs=1e-6)  # entropies are computed in float32


def test_rows_that_stop_leave_the_others_alone(exact: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first token that each of two prompts writes, and the third of another, are made end tokens."""
    prompts = [exact.chat.encode_turn(text) for text in TEXTS]
    free = [decode_greedily(exact, prompt, 12).ids for prompt in prompts]
    ends = frozenset({*exact.chat.end_ids, free[1][0], free[2][5]})
    monkeypatch.setattr(type(exact.chat), "end_ids", property(lambda _: ends))
    together = decode_together(exact, prompts, 12)
    alone = [decode_greedily(exact, prompt, 12) for prompt in prompts]
    assert [(d.ids, d.stop) for d in together] == [(d.ids, d.stop) for d in alone]
    assert len({len(d.ids) for d in together}) > 2


def test_a_repetition_stops_its_row(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "argmax", lambda self, _dim=-1: torch.full(self.shape[:-1], 20))
    decoded, other = decode_together(backbone, [[5, 6], [7]], 90)
    assert (len(decoded.ids), decoded.stop) == (len(other.ids), other.stop) == (12, "repetition")


def test_no_prompts_no_limit_an_empty_prompt_and_a_cancelled_run(backbone: Backbone) -> None:
    assert decode_together(backbone, [], 5) == []
    (decoded,) = decode_together(backbone, [[5]], 0)
    assert (decoded.ids, decoded.stop) == ([], "limit")
    with pytest.raises(ValueError, match="at least one token"):
        decode_together(backbone, [[5], []], 5)
    calls: list[Any] = []

    def after_four() -> bool:
        calls.append(None)
        return len(calls) > 4

    with pytest.raises(RunCancelled):
        decode_together(backbone, [[5], [6]], 40, cancelled=after_four)


def test_a_text_whose_numbers_overflow_ends_alone(exact: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    def entropy(logits: torch.Tensor) -> torch.Tensor:
        nats = entropy_of(logits)
        if nats.ndim == 2 and len(nats) == 3:  # a step of all three
            nats[1] = float("nan")
        return nats

    monkeypatch.setattr(decode_queue, "entropy_of", entropy)
    texts = [TextInProgress([5, 6, n], 4, frozenset(), None) for n in (7, 8, 9)]
    with pytest.raises(ConfigurationError, match=r"^dtype: "):
        decode_queue.queue_of(exact.model).write(exact.model, texts, lambda _: None, lambda: False)
    assert [text.error is None for text in texts] == [True, False, True]
    assert [len(text.ids) for text in texts] == [4, 1, 4]
