"""Every configuration in experiments/ can be read, is told of in its README, and names what exists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from webrec.eval.evaluation.config import names_of, read_eval_config
from webrec.eval.systems.config import LanguageModelConfig

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
FILES = sorted(EXPERIMENTS.glob("*.yaml"))


def test_there_are_some() -> None:
    assert FILES


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_it_can_be_read(path: Path) -> None:
    config = read_eval_config(path)
    assert config.output == EXPERIMENTS.parent / "out" / path.stem
    assert set(config.corpora) <= set(names_of(config))
    assert f"`webrec eval experiments/{path.name}`" in (EXPERIMENTS / "README.md").read_text("utf-8")
    first = path.read_text("utf-8").splitlines()[0]
    assert first.startswith("# ")
    assert first.endswith(".")


STUDIED = {
    "seeds": {"tune.head"},
    "heads": {"tune.head"},
    "hops": {"tune.head"},
    "layers": {"tune.head.layers"},
    "pages": {"tune.head", "prompt.pages", "placebo"},
    "queries": {"retrieval"},
    "language_models": {"tune.head"},
}


def flat(told: Any, path: str = "") -> dict[str, Any]:
    """Settings by their path; what is None ends there."""
    if not isinstance(told, dict):
        return {path: told}
    return {
        name: value for key, inner in told.items() for name, value in flat(inner, f"{path}.{key}".lstrip(".")).items()
    }


@pytest.mark.parametrize("name", STUDIED)
def test_only_what_is_studied_differs_between_those_that_are_trained_and_read_pages(name: str) -> None:
    config = read_eval_config(EXPERIMENTS / f"{name}.yaml")
    trained = [
        flat(system.model_dump(mode="json", exclude={"name"}))
        for system in config.systems
        if isinstance(system, LanguageModelConfig) and system.tune and (system.retrieval or name == "queries")
    ]
    assert len(trained) > 1
    paths = {path for settings in trained for path in settings}
    differ = {path for path in paths if len({repr(settings.get(path)) for settings in trained}) > 1}
    assert differ
    assert not {path for path in differ if not any(path == s or path.startswith(f"{s}.") for s in STUDIED[name])}
    retrievals = [flat(retrieval.model_dump(mode="json", exclude={"name"})) for retrieval in config.retrievals]
    paths = {path for settings in retrievals for path in settings}
    assert {path for path in paths if len({repr(r.get(path)) for r in retrievals}) > 1} <= {"query_strategy"}
