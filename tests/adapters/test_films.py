"""The adapter in adapters/films: its files are those of its training, it loads, and it is asked as it was trained."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

pytest.importorskip("peft")

from webrec import recommend
from webrec.examples import load_example

FILMS = Path(__file__).parents[2] / "adapters" / "films"
if not FILMS.exists():
    pytest.skip("adapters/films is in the repository alone, not in the source distribution", allow_module_level=True)


def test_its_files_are_those_of_its_training() -> None:
    told = json.loads((FILMS / "training.json").read_text("utf-8"))
    found = {
        path.relative_to(FILMS).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in FILMS.rglob("adapter_*")
    }
    assert found == told["files"]
    assert (
        told["config"]["prompt"]["prompt_form"] == json.loads((FILMS / "prompt.json").read_text("utf-8"))["prompt_form"]
    )


@pytest.mark.slow
def test_it_scores_films_and_is_no_longer_the_plain_backbone() -> None:
    data = load_example("films")
    told = {"providers": ["sample"], "pages": 3, "page_tokens": 64, "reasoning_tokens": 16, "title_words": 16}
    plain = recommend(data["history"], data["candidates"], prompt_form="next", **told)
    ranked = recommend(data["history"], data["candidates"], prompt_form="next", adapter=str(FILMS), **told)
    assert ranked.head == "pairwise (layer 2, 1 hop, top 64)"
    assert ranked.warnings == plain.warnings
    assert [c.title for c in ranked.ranking] != [c.title for c in plain.ranking]
    otherwise = recommend(data["history"], data["candidates"], adapter=str(FILMS), **told)
    assert any("trained with prompt_form next" in warning for warning in otherwise.warnings)
