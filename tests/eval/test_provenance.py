"""What result files say of their making."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from webrec.eval import provenance as module
from webrec.eval.provenance import processor, provenance
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
