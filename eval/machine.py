"""What a machine computes with, as its system tells it."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path

_CPU_INFO = Path("/proc/cpuinfo")
_GPU_INFO = Path("/proc/driver/nvidia/gpus")

_TELLING = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "asimd", "sve", "i8mm", "bf16")
"""Of x86 and of ARM, by the names of /proc/cpuinfo."""


def processor() -> str:
    """The processor's name where Linux tells it, else its kind."""
    if _CPU_INFO.is_file():
        found = next(_values(_CPU_INFO, "model name"), None)
        if found is not None:
            return found
    return platform.processor() or platform.machine()


def instructions() -> list[str]:
    """Of the instructions that products are quick with, those the processor has, where Linux tells; machines of one name differ in them."""
    if not _CPU_INFO.is_file():
        return []
    told = next(_values(_CPU_INFO, "flags"), None) or next(_values(_CPU_INFO, "Features"), "")
    return [name for name in _TELLING if name in told.split()]


def gpus() -> list[str]:
    """The names of NVIDIA's GPUs where Linux tells them, used or not."""
    return [name for file in sorted(_GPU_INFO.glob("*/information")) for name in _values(file, "Model")]


def _values(file: Path, field: str) -> Iterator[str]:
    for line in file.read_text("utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == field and value.strip():
            yield value.strip()
