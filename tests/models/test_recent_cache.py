"""The cache handed from decoding to reading: the same numbers, only for the same prompt, for one taker."""

from __future__ import annotations

import pytest

from webrec.models.backbone import Backbone
from webrec.models.decoding import decode_greedily
from webrec.models.influence import influence


def test_influence_is_the_same_with_and_without_it(backbone: Backbone) -> None:
    prompt = backbone.chat.encode_turn("A user has bought Red boots; Warm gloves.")
    generated = decode_greedily(backbone, prompt, 30).ids
    handed_on = influence(backbone, prompt, generated, -1, "mean")
    assert backbone.recent.take(prompt) is None, "it was taken"
    anew = influence(backbone, prompt, generated, -1, "mean")
    assert handed_on == pytest.approx(anew, abs=1e-5)


def test_only_the_same_prompt_gets_it_cut_to_itself(backbone: Backbone) -> None:
    prompt = backbone.chat.encode_turn("Wool scarf")
    decode_greedily(backbone, prompt, 8)
    assert backbone.recent.take([*prompt, 5]) is None
    cache = backbone.recent.take(prompt)
    assert cache is not None
    assert cache.get_seq_length() == len(prompt)
    assert backbone.recent.take(prompt) is None


def test_a_decoding_that_read_nothing_leaves_nothing(backbone: Backbone) -> None:
    decode_greedily(backbone, [5, 6, 7], 0)
    assert backbone.recent.take([5, 6, 7]) is None
