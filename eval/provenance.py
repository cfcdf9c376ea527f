"""Where a measurement comes from: what its result file says of code, machine and libraries."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from webrec.eval.run_folder import source_commit

_CPU_INFO = Path("/proc/cpuinfo")


def provenance(*packages: str) -> dict[str, Any]:
    """Commit of the code (None where it is no checkout), processor, number of its cores, versions of webrec and `packages`.

    Raises `PackageNotFoundError` for a package that is not installed.
    """
    return {
        "commit": source_commit(),
        "machine": processor(),
        "cpus": os.cpu_count(),
        "versions": {name: version(name) for name in ("webrec", *packages)},
    }


def processor() -> str:
    """The processor's name where Linux tells it, else its kind."""
    if _CPU_INFO.is_file():
        for line in _CPU_INFO.read_text("utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name" and value.strip():
                return value.strip()
    return platform.processor() or platform.machine()
