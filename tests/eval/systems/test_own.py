"""A class from a file or a package as a system, and what is said of one that is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from webrec.errors import ConfigurationError
from webrec.eval.systems.own import OwnSystem, load, own_identity
from webrec.eval.systems.system import answers

from .contract import EXAMPLES, TRAINING

MINE = """
import numpy
from dataclasses import dataclass

@dataclass
class Mine:
    power: float = 1.0

    def fit(self, training, seed, validation=()):
        self.counts, self.seed = training.counts, seed

    def rank(self, example):
        return numpy.array([self.counts.get(item, 0) ** self.power for item in example.candidates], numpy.float32)

class Many(Mine):
    def rank_many(self, examples):
        return [self.rank(example) + 1 for example in examples]

class NoFit:
    def rank(self, example): ...

number = 3
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


def test_it_is_asked_like_any_other(file: Path) -> None:
    one, many = OwnSystem("one", f"{file}:Mine", {"power": 2.0}), OwnSystem("many", f"{file}:Many", {})
    for system in (one, many):
        system.fit(TRAINING, 7)
    counts = [TRAINING.counts.get(item, 0) for item in EXAMPLES[0].candidates]
    assert list(answers(one, EXAMPLES)[0].scores) == [count**2.0 for count in counts]
    assert list(answers(many, EXAMPLES)[0].scores) == [count + 1.0 for count in counts]
    assert one.rank(EXAMPLES[0]) == one.rank_many(EXAMPLES[:1])[0]
    assert all(type(score) is float for score in one.rank(EXAMPLES[0]))
    assert np.isfinite(one.rank(EXAMPLES[0])).all()


def test_of_a_package() -> None:
    assert load("webrec.eval.systems.counting:Popularity").__name__ == "Popularity"


def test_it_is_known_by_its_file(file: Path, tmp_path: Path) -> None:
    assert own_identity(f"{file}:Mine") == own_identity(f"{file}:Many")
    other = tmp_path / "other.py"
    other.write_text(MINE + "\n# changed\n")
    assert own_identity(f"{other}:Mine") != own_identity(f"{file}:Mine")


@pytest.mark.parametrize(
    ("at", "settings", "message"),
    [
        ("nowhere.py:Mine", {}, r"nowhere.py:Mine cannot be loaded \(FileNotFoundError"),
        ("no_such_package.of_mine:Mine", {}, r"cannot be loaded \(ModuleNotFoundError"),
        ("{}:Other", {}, "there is no class Other in"),
        ("{}:number", {}, "there is no class number in"),
        ("{}:NoFit", {}, "NoFit has no fit"),
        ("{}:Mine", {"powr": 1}, "Mine does not take these settings .*powr"),
    ],
)
def test_what_is_none(file: Path, at: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        OwnSystem("own", at.format(file), settings)


def test_code_that_fails_where_it_is_imported(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("1 / 0\n")
    for _ in range(2):  # the second time as well: nothing half loaded is kept
        with pytest.raises(
            ConfigurationError, match=r"broken.py:A cannot be loaded \(ZeroDivisionError: division by zero\)"
        ):
            load(f"{path}:A")
