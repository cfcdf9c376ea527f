"""What result files say of their making."""

from __future__ import annotations

import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from webrec.eval import run_folder
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


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_results_that_were_just_written_are_no_change_of_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, result = tmp_path / "eval" / "run_folder.py", tmp_path / "eval" / "results" / "bench.json"
    result.parent.mkdir(parents=True)
    for file in (code, result):
        file.write_text("1", encoding="utf-8")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "first"]):
        subprocess.run([*git, *command], check=True)
    monkeypatch.setattr(run_folder, "__file__", str(code))
    clean = run_folder.source_commit()
    assert clean is not None
    assert len(clean) == 40
    result.write_text("2", encoding="utf-8")
    assert run_folder.source_commit() == clean
    code.write_text("2", encoding="utf-8")
    assert run_folder.source_commit() == f"{clean}+changes"
