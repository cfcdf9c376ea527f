"""A store of its own for each test, and short pauses between attempts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from webrec.tools.searching.store import SearchStore


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SearchStore]:
    monkeypatch.setattr("webrec.tools.searching.retry.FIRST_PAUSE", 0.02)
    store = SearchStore(tmp_path / "searches.sqlite3")
    yield store
    store.close()
