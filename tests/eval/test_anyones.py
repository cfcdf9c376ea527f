"""What any user would be given for a title, as the product computes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from webrec import recommend
from webrec.eval.anyones import with_anyones
from webrec.eval.examples import Example, encode_examples
from webrec.eval.train_config import PromptConfig
from webrec.models.backbone import get_backbone
from webrec.models.config import BackboneConfig, PromptForm

ROWS = [
    Example(history=["Red boots"], candidates=["Wool scarf", "Garden hose", "Soap"], target="Soap"),
    Example(history=["Comb", "Mirror"], candidates=["Soap", "Green tea"], target="Green tea"),
]


@pytest.mark.parametrize("form", ["request", "next"])
def test_they_are_what_recommend_tells(tiny_llama: Path, form: PromptForm) -> None:
    plain = get_backbone(BackboneConfig(backbone=str(tiny_llama), dtype="float32"))
    prompt, heard = PromptConfig(prompt_form=form), list[int]()
    encoded = encode_examples(plain.chat, ROWS, prompt, 4096, "rows")
    found = with_anyones(plain, ROWS, encoded, prompt, heard.append)
    assert heard[-1] == (
        4 if form == "next" else 5
    )  # without the list of candidates the same title is the same question
    for row, ids in zip(ROWS, found, strict=True):
        told = recommend(
            row.history,
            row.candidates,
            backbone=str(tiny_llama),
            dtype="float32",
            retrieval=False,
            prompt_form=form,
            score_by="pmi",
        )
        assert ids.anyones is not None
        expected = {c.title: c.anyones for c in told.ranking}
        titles = {tuple(plain.chat.encode_answer(title)): title for title in row.candidates}
        for candidate, value in zip(ids.candidates, ids.anyones, strict=True):
            assert value == pytest.approx(expected[titles[tuple(candidate)]], rel=1e-5)
        for c in told.ranking:
            assert c.anyones is not None
            assert c.score == pytest.approx(c.sum - c.anyones, rel=1e-9)
