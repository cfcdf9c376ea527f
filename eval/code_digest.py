"""A digest of the code that searching and scoring hang on, so that what other code computed is not taken for its own."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import import_module
from pathlib import Path

PACKAGES = ("webrec.models", "webrec.nodes", "webrec.tools", "webrec.graph", "webrec.eval.retrieval")


@cache
def code_digest() -> str:
    """SHA-256 over every file of `PACKAGES` that holds code or data, by name."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        folder = Path(str(import_module(package).__file__)).parent
        for file in sorted(p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
            digest.update(f"{package}/{file.relative_to(folder).as_posix()}\0".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
