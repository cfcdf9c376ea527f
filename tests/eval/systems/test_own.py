"""A class from a file or a package as a system, and what is said of one that is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from webrec.errors import ConfigurationError
from webrec.eval.systems.own import OwnSystem, own_identity
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

class Fails(Mine):
    def __init__(self, floor=0):
        raise ValueError("floor is negative")

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
    system = OwnSystem("own", "webrec.eval.systems.counting:Popularity", {})
    system.fit(TRAINING, 0)
    assert system.rank(EXAMPLES[0]) == [TRAINING.counts.get(item, 0) for item in EXAMPLES[0].candidates]


def test_it_is_known_by_its_file(file: Path) -> None:
    before = own_identity(f"{file}:Mine", {"power": 1.0})
    assert before == own_identity(f"{file}:Many", {})
    file.write_text(MINE.replace("return numpy", "return -numpy"))  # in the same process
    assert own_identity(f"{file}:Mine", {}) != before
    changed = OwnSystem("own", f"{file}:Mine", {})
    changed.fit(TRAINING, 0)
    assert max(changed.rank(EXAMPLES[0])) <= 0


def test_a_package_that_changed_under_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "package_of_mine.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    own_identity("package_of_mine:Mine", {})
    (tmp_path / "package_of_mine.py").write_text(MINE + "# changed")
    with pytest.raises(ConfigurationError, match="package_of_mine was changed since this process imported it"):
        own_identity("package_of_mine:Mine", {})


@pytest.mark.parametrize(
    ("at", "settings", "message"),
    [
        ("nowhere.py:Mine", {}, r"nowhere.py:Mine cannot be loaded \(FileNotFoundError"),
        ("no_such_package.of_mine:Mine", {}, r"cannot be loaded \(ModuleNotFoundError"),
        ("{}:Other", {}, "there is no class Other in"),
        ("{}:number", {}, "there is no class number in"),
        ("{}:NoFit", {}, "NoFit has no fit"),
        ("{}:Mine", {"powr": 1}, "Mine does not take these settings .*powr"),
        ("{}:Fails", {}, r"Fails could not be made \(ValueError: floor is negative\)"),
    ],
)
def test_what_is_none(file: Path, at: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        OwnSystem("own", at.format(file), settings)


@pytest.mark.parametrize(
    ("code", "told"), [("1 / 0", "ZeroDivisionError: division by zero"), ("import sys; sys.exit(0)", "SystemExit: 0")]
)
def test_code_that_fails_where_it_is_imported(tmp_path: Path, code: str, told: str) -> None:
    path = tmp_path / "broken.py"
    path.write_text(code)
    for _ in range(2):  # the second time as well: nothing half loaded is kept
        with pytest.raises(ConfigurationError, match=rf"broken.py:A cannot be loaded \({told}\)"):
            own_identity(f"{path}:A", {})
