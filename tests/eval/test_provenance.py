"""What result files say of their making."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import pytest

from webrec.eval.machine import processor
from webrec.eval.provenance import provenance
from webrec.eval.run_folder import source_commit


def test_code_machine_and_versions() -> None:
    told = provenance("numpy")
    assert told["commit"] == source_commit()
    assert told["machine"] == processor()
    assert told["cpus"] >= 1
    assert told["versions"] == {"webrec": version("webrec"), "numpy": version("numpy")}


def test_a_package_that_is_not_installed() -> None:
    with pytest.raises(PackageNotFoundError):
        provenance("no-such-package-of-anyone")
