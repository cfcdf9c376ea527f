"""What all tests of evaluations share."""

from __future__ import annotations

import pytest

from webrec.eval.data import build


@pytest.fixture(autouse=True)
def few_judged_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ways of drawing are judged on fewer sets than users', for time."""
    monkeypatch.setattr(build, "_SETS", 1_500)
