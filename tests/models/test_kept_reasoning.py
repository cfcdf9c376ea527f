"""Reasoning that is kept: to the bit what was computed, and nothing computed again unless something that counts differs."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from webrec.models import influence as influence_module
from webrec.models import kept_reasoning
from webrec.models.backbone import Backbone
from webrec.models.content_store import ContentStore
from webrec.models.decoding import decode_together
from webrec.models.influence import influence
from webrec.models.kept_reasoning import decode_kept, read_kept
from webrec.models.recent_influence import RecentInfluence
from webrec.models.teacher_forcing import read_text
from webrec.models.weights_digest import model_digest

WATCHED: Any = (-1, "mean")


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "x.sqlite3")


@pytest.fixture
def prompts(backbone: Backbone) -> list[list[int]]:
    return [backbone.chat.encode_turn(text) for text in ("Red boots", "Warm gloves", "東京の地図")]


def afresh(backbone: Backbone) -> Backbone:
    """The same model in another process: nothing is remembered."""
    return replace(backbone, recent=RecentInfluence())


def test_what_is_kept_comes_back_to_the_bit(
    backbone: Backbone, prompts: list[list[int]], store: ContentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = afresh(backbone)
    computed = decode_together(first, prompts, 30, watched=WATCHED)
    assert decode_kept(store, afresh(backbone), prompts, 30, watched=WATCHED) == computed
    monkeypatch.setattr(kept_reasoning, "decode_together", lambda *_, **__: pytest.fail("computed again"))
    monkeypatch.setattr(influence_module, "_computed", lambda *_: pytest.fail("computed again"))
    again = afresh(backbone)
    heard: list[int] = []
    assert decode_kept(store, again, prompts[::-1], 30, watched=WATCHED, on_token=heard.append) == computed[::-1]
    assert heard == [token for decoded in computed[::-1] for token in decoded.ids]
    for prompt, decoded in zip(prompts, computed, strict=True):
        assert influence(again, prompt, decoded.ids, *WATCHED) == influence(first, prompt, decoded.ids, *WATCHED)


def test_only_what_is_missing_is_computed(
    backbone: Backbone, prompts: list[list[int]], store: ContentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode_kept(store, backbone, prompts[1:2], 20, watched=WATCHED)
    asked: list[Any] = []

    def counted(own: Backbone, some: Any, *others: Any, **named: Any) -> Any:
        asked.append(list(some))
        return decode_together(own, some, *others, **named)

    monkeypatch.setattr(kept_reasoning, "decode_together", counted)
    found = decode_kept(store, backbone, prompts, 20, watched=WATCHED)
    assert asked == [[prompts[0], prompts[2]]]
    alone = [decode_together(backbone, [prompt], 20)[0] for prompt in prompts]
    assert [d.ids for d in found] == [d.ids for d in alone]


def test_everything_that_counts_is_in_the_key(
    backbone: Backbone, prompts: list[list[int]], store: ContentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def counted(own: Backbone, some: Any, *others: Any, **named: Any) -> Any:
        asked.append(len(some))
        return decode_together(own, some, *others, **named)

    monkeypatch.setattr(kept_reasoning, "decode_together", counted)
    other = replace(backbone, model=deepcopy(backbone.model))
    other.model.model.layers[0].mlp.up_proj.weight[0, 0] += 1e-3
    double = replace(backbone, model=deepcopy(backbone.model).double())
    ways: list[tuple[Backbone, list[int], int, Any]] = [
        (backbone, prompts[0], 9, WATCHED),
        (backbone, prompts[0], 9, (0, "mean")),
        (backbone, prompts[0], 9, (-1, "max")),
        (backbone, prompts[0], 9, None),
        (backbone, prompts[0], 8, WATCHED),
        (backbone, prompts[1], 9, WATCHED),
        (other, prompts[0], 9, WATCHED),
        (double, prompts[0], 9, WATCHED),
    ]
    for _ in range(2):
        for own, prompt, limit, watched in ways:
            decode_kept(store, own, [prompt], limit, watched=watched)
    assert asked == [1] * len(ways)
    same = replace(backbone, model=deepcopy(backbone.model))  # the same weights elsewhere
    last = len(backbone.model.model.layers) - 1
    decode_kept(store, same, [prompts[0]], 9, watched=(last, "mean"))
    assert asked == [1] * len(ways)
    assert model_digest(same.model) == model_digest(backbone.model) != model_digest(other.model)


def test_the_pass_over_another_decoders_text_is_kept(
    backbone: Backbone, prompts: list[list[int]], store: ContentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = backbone.chat.encode("The scarf is warm, soft and light.")
    first = afresh(backbone)
    expected = read_text(first, prompts[0], ids, "end", WATCHED)
    assert read_kept(store, afresh(backbone), prompts[0], ids, "end", WATCHED) == expected
    monkeypatch.setattr(kept_reasoning, "read_text", lambda *_: pytest.fail("computed again"))
    again = afresh(backbone)
    assert read_kept(store, again, prompts[0], ids, "end", WATCHED) == expected
    assert influence(again, prompts[0], ids, *WATCHED) == influence(first, prompts[0], ids, *WATCHED)
