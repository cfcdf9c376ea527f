"""What a machine computes with, as its system tells it."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path

_CPU_INFO = Path("/proc/cpuinfo")
_GPU_INFO = Path("/proc/driver/nvidia/gpus")


def processor() -> str:
    """The processor's name where Linux tells it, else its kind."""
    if _CPU_INFO.is_file():
        found = next(_values(_CPU_INFO, "model name"), None)
        if found is not None:
            return found
    return platform.processor() or platform.machine()


def gpus() -> list[str]:
    """The names of NVIDIA's GPUs where Linux tells them, used or not."""
    return [name for file in sorted(_GPU_INFO.glob("*/information")) for name in _values(file, "Model")]


def _values(file: Path, field: str) -> Iterator[str]:
    for line in file.read_text("utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == field and value.strip():
            yield value.strip()
