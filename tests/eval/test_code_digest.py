"""The digest of the code."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from webrec.eval import code_digest


def test_any_change_is_another_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "some_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "words.txt").write_text("a")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(code_digest, "PACKAGES", ("some_package",))
    digest = code_digest.code_digest.__wrapped__
    try:
        first = digest()
        assert digest() == first
        (package / "words.txt").write_text("b")
        second = digest()
        (package / "more.py").write_text("")
        assert len({first, second, digest()}) == 3
    finally:
        sys.modules.pop("some_package", None)


def test_what_is_read_is_there() -> None:
    assert len(code_digest.code_digest()) == 64
