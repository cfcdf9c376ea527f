"""Every configuration in experiments/ can be read, is told of in its README, and names what exists."""

from __future__ import annotations

from pathlib import Path

import pytest

from webrec.eval.evaluation.config import names_of, read_eval_config

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
