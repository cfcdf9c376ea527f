"""The last layer computes no more than what is wanted of it, and a head on it gets all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from webrec.models.backbone import Backbone
from webrec.models.scoring import score_candidates

PROMPT, CANDIDATES = [5, 6, 7, 8, 9, 10], [[9, 10, 11], [12], [13] * 5]


@pytest.fixture
def rows_of(backbone: Backbone) -> Any:
    """Rows that reach the MLP of a layer, by pass."""
    seen: dict[int, list[int]] = {}
    handles = []

    def look(number: int) -> Callable[..., None]:
        return lambda _, inputs: seen.setdefault(number, []).append(inputs[0].shape[1])

    for number, layer in enumerate(backbone.model.model.layers):
        handles.append(layer.mlp.register_forward_pre_hook(look(number)))
    yield seen
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize("pack_tokens", [512, 3])
def test_only_the_wanted_rows_go_through_the_last_layer(
    backbone: Backbone, rows_of: dict[int, list[int]], pack_tokens: int
) -> None:
    score_candidates(backbone, PROMPT, CANDIDATES, pack_tokens=pack_tokens)
    last = len(backbone.model.model.layers) - 1
    everything = [len(PROMPT) + 2 + 4] if pack_tokens == 512 else [len(PROMPT), 2, 4]
    wanted = [1 + 2 + 4] if pack_tokens == 512 else [1, 2, 4]
    assert rows_of[last] == wanted
    assert all(rows_of[number] == everything for number in range(last))


def test_whoever_looks_at_the_last_layer_gets_all_rows(backbone: Backbone, rows_of: dict[int, list[int]]) -> None:
    last: Any = backbone.model.model.layers[-1]
    expected = [c.total for c in score_candidates(backbone, PROMPT, CANDIDATES)]
    shapes: list[torch.Size] = []
    handle = last.self_attn.register_forward_hook(lambda _, __, output: shapes.append(output[0].shape))
    try:
        rows_of.clear()
        got = [c.total for c in score_candidates(backbone, PROMPT, CANDIDATES)]
    finally:
        handle.remove()
    assert [shape[1] for shape in shapes] == rows_of[len(backbone.model.model.layers) - 1] == [len(PROMPT) + 6]
    assert got == pytest.approx(expected, abs=1e-4)
