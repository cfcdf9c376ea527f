"""What is told of processor and GPUs."""

from __future__ import annotations

from pathlib import Path

import pytest

from webrec.eval import machine as module
from webrec.eval.machine import gpus, instructions, processor


def test_the_processor_as_linux_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "cpuinfo"
    told.write_text(
        "processor\t: 0\nvendor_id\t: X\nmodel name\t: Some CPU @ 2.10GHz\nprocessor\t: 1\nmodel name\t: other\n"
    )
    monkeypatch.setattr(module, "_CPU_INFO", told)
    assert processor() == "Some CPU @ 2.10GHz"


@pytest.mark.parametrize("text", [None, "", "Hardware\t: a board\n", "model name\t: \n"])
def test_the_processor_where_it_has_no_name(text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "cpuinfo"
    if text is not None:
        told.write_text(text)
    monkeypatch.setattr(module, "_CPU_INFO", told)
    monkeypatch.setattr(module.platform, "processor", lambda: "")
    monkeypatch.setattr(module.platform, "machine", lambda: "aarch64")
    assert processor() == "aarch64"


def test_gpus_as_linux_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, name in enumerate(("NVIDIA H200", "NVIDIA H100 80GB HBM3")):
        (tmp_path / f"0000:0{number}").mkdir()
        (tmp_path / f"0000:0{number}" / "information").write_text(f"Model: \t\t {name}\nIRQ:   \t\t 9\n")
    monkeypatch.setattr(module, "_GPU_INFO", tmp_path)
    assert gpus() == ["NVIDIA H200", "NVIDIA H100 80GB HBM3"]
    monkeypatch.setattr(module, "_GPU_INFO", tmp_path / "none")
    assert gpus() == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model name\t: X\nflags\t\t: fpu avx2 avx512f avx512_vnni avx512_bf16x\n", ["avx2", "avx512f", "avx512_vnni"]),
        ("Features\t: fp asimd i8mm\n", ["asimd", "i8mm"]),
        ("Hardware\t: a board\n", []),
        (None, []),
    ],
)
def test_instructions_that_products_are_quick_with(
    text: str | None, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "cpuinfo"
    if text is not None:
        told.write_text(text)
    monkeypatch.setattr(module, "_CPU_INFO", told)
    assert instructions() == expected
