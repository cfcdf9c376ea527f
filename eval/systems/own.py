"""Systems that are written outside this repository, named by a configuration."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from webrec.errors import ConfigurationError
from webrec.eval.data.dataset import RankingExample, TrainingData
from webrec.eval.systems.system import System


class OwnSystem:
    """A class of one's own as a system; where it has no `rank_many`, its `rank` is asked one by one.

    `at`: `file.py:Class` or `package.module:Class`. `settings`: what its constructor takes. Raises `ConfigurationError` where it
    cannot be loaded or made, or lacks `fit` or `rank`.
    """

    def __init__(self, name: str, at: str, settings: Mapping[str, Any]) -> None:
        self.name = name
        made = load(at)
        try:
            self._system: System = made(**settings)
        except TypeError as error:
            raise ConfigurationError(f"systems: {name}: {at} does not take these settings ({error})") from error

    def fit(self, training: TrainingData, seed: int, validation: Sequence[RankingExample] = ()) -> None:
        """Its own."""
        self._system.fit(training, seed, validation)

    def rank(self, example: RankingExample) -> list[float]:
        """Its own."""
        return [float(score) for score in self._system.rank(example)]

    def rank_many(self, examples: Sequence[RankingExample]) -> list[list[float]]:
        """Its own, or `rank` of each."""
        if not hasattr(self._system, "rank_many"):
            return [self.rank(example) for example in examples]
        return [[float(score) for score in scores] for scores in self._system.rank_many(examples)]


def load(at: str) -> Callable[..., Any]:
    """The class that `at` names. Raises `ConfigurationError` where it cannot be had, or lacks `fit` or `rank`."""
    return _loaded(at)[1]


def own_identity(at: str) -> str:
    """SHA-256 of the source file that holds the class, its first 16 digits: what it imports does not count. Raises as `load` does."""
    module, _ = _loaded(at)
    source = Path(module.__file__ or "")
    return hashlib.sha256(source.read_bytes()).hexdigest()[:16] if source.is_file() else at


def _loaded(at: str) -> tuple[ModuleType, Callable[..., Any]]:
    where, _, name = at.rpartition(":")
    try:
        module = _from_file(Path(where)) if where.endswith(".py") else importlib.import_module(where)
    except Exception as error:  # anything that somebody else's code raises when it is imported
        raise ConfigurationError(f"systems: {at} cannot be loaded ({type(error).__name__}: {error})") from error
    made = getattr(module, name, None)
    if not callable(made):
        raise ConfigurationError(f"systems: {at}: there is no class {name} in {where}; correct one of the two")
    if missing := next((method for method in ("fit", "rank") if not callable(getattr(made, method, None))), None):
        raise ConfigurationError(f"systems: {at} has no {missing}; docs/evaluate.md says what a system is")
    return module, made


def _from_file(path: Path) -> ModuleType:
    name = f"webrec_own_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}"
    if name in sys.modules:  # once, so that what the module keeps is kept
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # its name ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs: dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
