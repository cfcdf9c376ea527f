"""Systems that are written outside this repository, named by a configuration."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from webrec.errors import ConfigurationError
from webrec.eval.data.dataset import RankingExample, TrainingData
from webrec.eval.systems.system import System

_known: dict[str, str] = {}
"""By package module, the digest of its file when it was first looked at: Python imports it once."""


class OwnSystem:
    """A class of one's own as a system; where it has no `rank_many`, its `rank` is asked one by one.

    `at`: `file.py:Class` or `package.module:Class`. `settings`: what its constructor takes. Raises `ConfigurationError` where it
    cannot be loaded or made, or lacks `fit` or `rank`.
    """

    def __init__(self, name: str, at: str, settings: Mapping[str, Any]) -> None:
        self.name = name
        _, made = _loaded(at)
        _check_settings(at, made, settings)
        try:
            self._system: System = made(**settings)
        except Exception as error:  # anything that somebody else's code raises
            raise ConfigurationError(f"systems: {name}: {at} could not be made ({_told(error)})") from error

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


def own_identity(at: str, settings: Mapping[str, Any]) -> str:
    """SHA-256 of the source file that holds the class, its first 16 digits: what it imports does not count.

    Raises `ConfigurationError` where the class cannot be loaded, lacks `fit` or `rank`, or does not take `settings`.
    """
    digest, made = _loaded(at)
    _check_settings(at, made, settings)
    return digest


def _check_settings(at: str, made: Callable[..., Any], settings: Mapping[str, Any]) -> None:
    try:
        inspect.signature(made).bind(**settings)
    except TypeError as error:
        raise ConfigurationError(f"systems: {at} does not take these settings ({error})") from None
    except ValueError:
        return  # of what is compiled no signature may be known


def _loaded(at: str) -> tuple[str, Callable[..., Any]]:
    """The digest of its source, and the class."""
    where, _, name = at.rpartition(":")
    try:
        digest, module = _from_file(Path(where)) if where.endswith(".py") else _from_package(where)
    except ConfigurationError:
        raise
    except (Exception, SystemExit) as error:  # anything that somebody else's code does when it is imported
        raise ConfigurationError(f"systems: {at} cannot be loaded ({_told(error)})") from error
    made = getattr(module, name, None)
    if not callable(made):
        raise ConfigurationError(f"systems: {at}: there is no class {name} in {where}; correct one of the two")
    if missing := next((method for method in ("fit", "rank") if not callable(getattr(made, method, None))), None):
        raise ConfigurationError(f"systems: {at} has no {missing}; docs/evaluate.md says what a system is")
    return digest, made


def _from_file(path: Path) -> tuple[str, ModuleType]:
    """Run once for each content, so that what the module keeps is kept, and what is run is what the digest says."""
    source = path.read_bytes()
    digest = hashlib.sha256(source).hexdigest()[:16]
    name = f"webrec_own_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}_{digest}"
    if name in sys.modules:
        return digest, sys.modules[name]
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # before it runs: dataclasses look their module up
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)  # noqa: S102 (its owner names it in the configuration)
    except BaseException:
        del sys.modules[name]
        raise
    return digest, module


def _from_package(name: str) -> tuple[str, ModuleType]:
    module = importlib.import_module(name)
    file = Path(module.__file__ or "")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:16] if file.is_file() else name
    if _known.setdefault(name, digest) != digest:
        raise ConfigurationError(f"systems: {name} was changed since this process imported it; start another one")
    return digest, module


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
