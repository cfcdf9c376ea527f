"""Where a measurement comes from: what its result file says of code, machine and libraries."""

from __future__ import annotations

import os
from importlib.metadata import version
from typing import Any

from webrec.eval.machine import instructions, processor
from webrec.eval.run_folder import source_commit


def provenance(*packages: str) -> dict[str, Any]:
    """Commit of the code (None where it is no checkout), processor, its instructions, number of its cores, versions of webrec and `packages`.

    Raises `PackageNotFoundError` for a package that is not installed.
    """
    return {
        "commit": source_commit(),
        "machine": processor(),
        "instructions": instructions(),
        "cpus": os.cpu_count(),
        "versions": {name: version(name) for name in ("webrec", *packages)},
    }
