"""The LLaMA without pages: the same scores as the product's, whatever the order, and its costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from webrec import recommend
from webrec.errors import ConfigurationError
from webrec.eval.examples import Example, ExamplePage, encode_example
from webrec.eval.retrieval.page_source import PageSource
from webrec.eval.retrieval.retrieve import FoundPage, Retrieved
from webrec.eval.systems import language_model
from webrec.eval.systems.language_model import LanguageModel
from webrec.eval.systems.system import NotFittedError, answers
from webrec.eval.train_config import PromptConfig
from webrec.models.backbone import Backbone, get_backbone
from webrec.models.config import BackboneConfig, PromptForm, ScoreBy
from webrec.models.scoring import CandidateLikelihood, score_candidates, score_together

from .contract import EXAMPLES, TRAINING


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> BackboneConfig:
    folder: Path = request.getfixturevalue("tiny_sentencepiece")
    return BackboneConfig(backbone=str(folder), dtype="float32")


@pytest.mark.parametrize("score_by", ["mean", "sum", "pmi"])
@pytest.mark.parametrize("form", ["request", "next"])
def test_it_scores_as_the_product_does(config: BackboneConfig, score_by: ScoreBy, form: PromptForm) -> None:
    prompt = PromptConfig(pages=0, seed=3, history_items=4, prompt_form=form)
    system = LanguageModel(config, prompt, score_by)
    system.fit(TRAINING, 0)
    for example in EXAMPLES[:3]:
        titles = [TRAINING.items[i].title for i in example.candidates]
        told = recommend(
            [TRAINING.items[i].title for i in example.history],
            titles,
            backbone=config.backbone,
            dtype="float32",
            retrieval=False,
            seed=3,
            history_items=4,
            score_by=score_by,
            prompt_form=form,
        )
        expected = {ranked.title: ranked.score for ranked in told.ranking}
        assert system.rank(example) == pytest.approx([expected[title] for title in titles], rel=1e-6)


def test_order_batches_and_costs(config: BackboneConfig) -> None:
    system = LanguageModel(config, PromptConfig(pages=0))
    system.fit(TRAINING, 0)
    given = answers(system, EXAMPLES[:3])
    for example, answer in zip(EXAMPLES[:3], given, strict=True):
        assert tuple(system.rank(example)) == answer.scores
        assert answer.tokens_read > 100
        assert answer.seconds > 0
        assert (answer.tokens_written, answer.searches) == (0, 0)
    assert system.rank_many(EXAMPLES[:2]) == [list(a.scores) for a in given[:2]]


@pytest.mark.parametrize("score_by", ["mean", "pmi"])
def test_several_in_one_pass_as_a_gpu_answers(
    config: BackboneConfig, score_by: ScoreBy, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = LanguageModel(config, PromptConfig(pages=0), score_by)
    system.fit(TRAINING, 0)
    alone = answers(system, EXAMPLES[:5])
    assert language_model.together_on(get_backbone(config)) == 0  # on a CPU
    passes: list[int] = []

    def counted(backbone: Backbone, asked: Sequence[Any]) -> list[list[CandidateLikelihood]]:
        passes.append(len(asked))
        return score_together(backbone, asked)

    monkeypatch.setattr("webrec.models.scoring.score_together", counted)
    longest = max(answer.tokens_read for answer in alone)
    monkeypatch.setattr(language_model, "together_on", lambda _: 3 * longest)
    together = answers(system, EXAMPLES[:5])
    assert sum(passes) >= 4
    assert max(passes) >= 3
    for mine, expected in zip(together, alone, strict=True):
        assert mine.scores == pytest.approx(expected.scores, rel=1e-4, abs=1e-4)
        assert mine.tokens_read == expected.tokens_read
        assert mine.seconds > 0


def test_it_reads_the_pages_that_it_is_given(config: BackboneConfig) -> None:
    pages = tuple(FoundPage(f"Page {n}", f"About thing number {n}.", "") for n in range(4))
    found = {e.key: Retrieved(e.key, "found", "q", (), pages, {}, 2, 30, 1.5) for e in EXAMPLES[:2]}
    system = LanguageModel(config, PromptConfig(pages=3), pages=PageSource({("test", "uniform"): found}))
    bare = LanguageModel(config, PromptConfig())
    system.fit(TRAINING, 0)
    bare.fit(TRAINING, 0)
    for example, answer in zip(EXAMPLES[:2], answers(system, EXAMPLES[:2]), strict=True):
        encoded = encode_example(
            get_backbone(config).chat,
            Example(
                history=[TRAINING.items[i].title for i in example.history],
                candidates=[TRAINING.items[i].title for i in example.candidates],
                target=TRAINING.items[example.target].title,
                pages=[ExamplePage(title=p.title, text=p.text) for p in pages],
            ),
            PromptConfig(pages=3),
            10_000,
        )  # what a training run reads of the same user and pages
        own = score_candidates(get_backbone(config), encoded.prompt, encoded.candidates)
        assert max(answer.scores) == pytest.approx(max(likelihood.mean for likelihood in own), rel=1e-6)
        assert answer.scores[example.candidates.index(example.target)] == pytest.approx(
            own[encoded.target].mean, rel=1e-6
        )
        assert answer.tokens_read == len(encoded.prompt) + sum(map(len, encoded.candidates))
        assert answer.scores != tuple(bare.rank(example))
        assert (answer.tokens_written, answer.searches) == (30, 2)
        assert answer.seconds > 1.5


def test_wrong_input(config: BackboneConfig) -> None:
    with pytest.raises(NotFittedError):
        LanguageModel(config, PromptConfig(pages=0)).rank(EXAMPLES[0])
    broken = LanguageModel(config.model_copy(update={"backbone": "/nowhere/at/all"}), PromptConfig(pages=0))
    with pytest.raises(ConfigurationError, match="backbone"):
        broken.fit(TRAINING, 0)
