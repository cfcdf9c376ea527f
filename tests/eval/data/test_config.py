"""The settings of a data set that could do harm: its name, which is part of files' names, and what it draws."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from webrec.errors import ConfigurationError
from webrec.eval.data.config import DataConfig, checked_name
from webrec.nodes.validation import first_error


@pytest.mark.parametrize(
    "name", ["films", "ml-1m_v2.1", "Amazon Office", "films (1)", "フィルム", "Größe", "Gro\u0308ße", "2018"]
)
def test_names(name: str) -> None:
    assert checked_name(DataConfig(path=Path("x"), name=name)) == name
    assert checked_name(DataConfig(path=Path("somewhere") / name)) == name


@pytest.mark.parametrize(
    "name", ["../../evil", "/evil", "a/b", "a\\b", "..", ".hidden", " a", "a ", "", "a\nb", "a\0", "a:b", "a\u202eb"]
)
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(ValidationError) as caught:
        DataConfig(path=Path("x"), name=name)
    assert first_error(caught.value).startswith(
        "name: it cannot name files; use letters, digits, _ . - , ( ) and spaces inside"
    )


@pytest.mark.parametrize("folder", ["films?", "x/..", "a:b", "/"])
def test_folders_whose_name_is_none(folder: str) -> None:
    config = DataConfig(path=Path(folder))
    with pytest.raises(ConfigurationError, match=r"^name: '.*' cannot name files; set name to another one \(letters"):
        checked_name(config)
    assert checked_name(config.model_copy(update={"name": "films"})) == "films"
    with pytest.raises(ConfigurationError, match="cannot name files"):
        checked_name(config.model_copy(update={"name": "../evil"}))


def test_samplings_that_are_there_twice() -> None:
    with pytest.raises(ValidationError) as caught:
        DataConfig(path=Path("x"), samplings=("uniform", "matched", "uniform"))
    assert first_error(caught.value) == "samplings: uniform is there twice; remove one of them"
