"""Influence measured while decoding: the numbers of a pass of its own, and only for the same tokens, layer and heads."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch

from webrec.models import influence as influence_module
from webrec.models import recent_influence
from webrec.models.backbone import Backbone
from webrec.models.decoding import decode_greedily, decode_together
from webrec.models.influence import influence
from webrec.models.recent_influence import RecentInfluence

TEXTS = ["A user has bought Red boots; Warm gloves.", "a", "Größe und süß, and a text longer than the others"]


@pytest.fixture
def exact(backbone: Backbone) -> Backbone:
    return replace(backbone, model=deepcopy(backbone.model).double(), recent=RecentInfluence())


@pytest.fixture
def no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise AssertionError("it was computed again")

    monkeypatch.setattr(influence_module, "_computed", refuse)


@pytest.mark.parametrize("heads", ["mean", "max"])
@pytest.mark.parametrize("layer", [0, -1])
def test_equals_a_pass_of_its_own(exact: Backbone, layer: int, heads: Any) -> None:
    prompts = [exact.chat.encode_turn(text) for text in TEXTS]
    alone = decode_greedily(exact, prompts[0], 33, watched=(layer, heads))
    together = decode_together(exact, prompts[1:], 40, watched=(layer, heads))
    for prompt, decoded in zip(prompts, [alone, *together], strict=True):
        measured = influence(exact, prompt, decoded.ids, layer, heads)
        again = influence(replace(exact, recent=RecentInfluence()), prompt, decoded.ids, layer, heads)
        assert measured == pytest.approx(again, abs=1e-6)
        assert max(measured) > 0.01
        assert measured is influence(exact, prompt, decoded.ids, layer, heads)


def test_equals_it_where_an_end_token_stops_the_text(exact: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = exact.chat.encode_turn(TEXTS[0])
    free = decode_greedily(exact, prompt, 20).ids
    end = next(token for n, token in enumerate(free) if n > 6 and token not in free[:n])
    monkeypatch.setattr(type(exact.chat), "end_ids", property(lambda _: frozenset({end})))
    decoded = decode_greedily(exact, prompt, 20, watched=(-1, "mean"))
    assert decoded.stop == "end"
    measured = influence(exact, prompt, decoded.ids, -1, "mean")
    again = influence(replace(exact, recent=RecentInfluence()), prompt, decoded.ids, -1, "mean")
    assert measured == pytest.approx(again, abs=1e-6)


@pytest.mark.usefixtures("no_pass")
def test_one_token_and_none_need_no_pass(exact: Backbone) -> None:
    prompt = exact.chat.encode_turn(TEXTS[0])
    one = decode_greedily(exact, prompt, 1, watched=(-1, "mean"))
    assert influence(exact, prompt, one.ids, -1, "mean") == [0.0]
    assert decode_greedily(exact, prompt, 0, watched=(-1, "mean")).ids == []


@pytest.mark.usefixtures("no_pass")
def test_other_tokens_layers_and_heads_do_not_get_it(exact: Backbone) -> None:
    prompt = exact.chat.encode_turn(TEXTS[0])
    ids = decode_greedily(exact, prompt, 12, watched=(-1, "mean")).ids
    assert len(influence(exact, prompt, ids, -1, "mean")) == 12
    for changed in (
        (prompt, [*ids[:-1], ids[-1] ^ 1], -1, "mean"),
        (prompt[:-1], ids, -1, "mean"),
        ([*prompt, ids[0]], ids[1:], -1, "mean"),
        (prompt, ids, 0, "mean"),
        (prompt, ids, -1, "max"),
    ):
        with pytest.raises(AssertionError, match="computed again"):
            influence(exact, *changed)  # type: ignore[arg-type]


def test_the_oldest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_influence, "KEPT_TEXTS", 3)
    held = RecentInfluence()
    for n in range(5):
        held.put([n, 7], 1, (0, "mean"), [float(n)])
    assert [held.get([n, 7], 1, (0, "mean")) for n in range(5)] == [None, None, [2.0], [3.0], [4.0]]


def test_the_queue_holds_nothing_of_a_text_that_is_done(exact: Backbone) -> None:
    from webrec.models.decode_queue import queue_of

    decode_together(exact, [exact.chat.encode_turn(text) for text in TEXTS], 12)
    queue = queue_of(exact.model)
    assert (queue._rows, queue._cache, list(queue._waiting)) == ([], None, [])
    assert not torch.is_inference_mode_enabled()
