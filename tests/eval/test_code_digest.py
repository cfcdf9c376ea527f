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

    def digest() -> str:
        return code_digest.code_digest.__wrapped__(("some_package", "some_package.more"))

    (package / "more.py").write_text("x = 1\n")
    try:
        first = digest()
        assert digest() == first
        (package / "words.txt").write_text("b")
        second = digest()
        (package / "still_more.py").write_text("")
        assert len({first, second, digest()}) == 3
    finally:
        for name in ("some_package", "some_package.more"):
            sys.modules.pop(name, None)


def test_what_is_read_is_there() -> None:
    digests = {code_digest.code_digest(names) for names in (code_digest.SEARCHING, code_digest.TRAINING)}
    assert [len(digest) for digest in digests] == [64, 64]
