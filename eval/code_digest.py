"""A digest of the code that a result hangs on, so that what other code computed is not taken for its own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

SEARCHING = ("webrec.models", "webrec.nodes", "webrec.tools", "webrec.graph", "webrec.eval.retrieval")
"""Packages and modules that decide what is found."""
TRAINING = (
    "webrec.models",
    "webrec.nodes",
    "webrec.tools.page",
    "webrec.tools.reading.sentences",
    "webrec.tools.text_safety",
    "webrec.eval.anyones",
    "webrec.eval.examples",
    "webrec.eval.train_config",
    "webrec.eval.train_run",
    "webrec.eval.systems.tuned_language_model",
)
"""Those that decide what comes out of a training."""


@cache
def code_digest(names: tuple[str, ...] = SEARCHING) -> str:
    """SHA-256 over every file of the packages and modules that holds code or data, by name."""
    digest = hashlib.sha256()
    for name in names:
        for told, file in _files(name):
            digest.update(f"{name}/{told}\0".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _files(name: str) -> Iterator[tuple[str, Path]]:
    place = Path(str(import_module(name).__file__))
    if place.name != "__init__.py":
        yield place.name, place
        return
    for file in sorted(p for p in place.parent.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
        yield file.relative_to(place.parent).as_posix(), file
