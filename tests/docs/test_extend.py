"""Every Python block of docs/extend.md runs as it stands, outside the repository, and is under 30 lines."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parents[2] / "docs" / "extend.md"
BLOCKS = re.findall(
    r"^## ([^\n]+)\n.*?```python\n(.*?)```", DOCUMENT.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE
)


def test_there_is_a_block_for_each_heading() -> None:
    assert len(BLOCKS) == DOCUMENT.read_text("utf-8").count("\n## ") == 4


@pytest.mark.parametrize(("heading", "code"), BLOCKS, ids=[h for h, _ in BLOCKS])
def test_block(heading: str, code: str, tiny_bytes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert code.count("\n") < 30
    assert "assert" in code
    monkeypatch.chdir(tmp_path)
    exec(compile(code, heading, "exec"), {"BACKBONE": str(tiny_bytes), "__name__": "extension"})
