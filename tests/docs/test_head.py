"""Every Python block of docs/head.md runs as it stands, outside the repository."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCUMENT = (Path(__file__).parents[2] / "docs" / "head.md").read_text("utf-8")
BLOCKS = re.findall(r"^## ([^\n]+)\n(?:(?!\n## ).)*?```python\n(.*?)```", DOCUMENT, flags=re.DOTALL | re.MULTILINE)


def test_the_blocks_are_found() -> None:
    assert len(BLOCKS) == DOCUMENT.count("```python") == 2


def test_another_llama_takes_ten_lines() -> None:
    code = [line for line in dict(BLOCKS)["Add it to your LLaMA"].splitlines() if line.strip()]
    assert len(code) <= 10


@pytest.mark.parametrize(("heading", "code"), BLOCKS, ids=[h for h, _ in BLOCKS])
def test_block(heading: str, code: str, tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(code, heading, "exec"), {"BACKBONE": str(tiny_llama), "__name__": "example"})
