"""The LLaMA without pages: the same scores as the product's, whatever the order, and its costs."""

from __future__ import annotations

from pathlib import Path

import pytest

from webrec import recommend
from webrec.errors import ConfigurationError
from webrec.eval.systems.language_model import LanguageModel
from webrec.eval.systems.system import NotFittedError, answers
from webrec.eval.train_config import PromptConfig
from webrec.models.config import BackboneConfig

from .contract import EXAMPLES, TRAINING


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> BackboneConfig:
    folder: Path = request.getfixturevalue("tiny_sentencepiece")
    return BackboneConfig(backbone=str(folder), dtype="float32")


@pytest.mark.parametrize("score_by", ["mean", "sum"])
def test_it_scores_as_the_product_does(config: BackboneConfig, score_by: str) -> None:
    system = LanguageModel(config, PromptConfig(pages=0, seed=3, history_items=4), score_by)  # type: ignore[arg-type]
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


def test_wrong_input(config: BackboneConfig) -> None:
    with pytest.raises(ConfigurationError, match=r"prompt.pages: this system reads no pages; set it to 0"):
        LanguageModel(config, PromptConfig())
    with pytest.raises(NotFittedError):
        LanguageModel(config, PromptConfig(pages=0)).rank(EXAMPLES[0])
    broken = LanguageModel(config.model_copy(update={"backbone": "/nowhere/at/all"}), PromptConfig(pages=0))
    with pytest.raises(ConfigurationError, match="backbone"):
        broken.fit(TRAINING, 0)
