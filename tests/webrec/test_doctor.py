"""`webrec doctor`: which folders of the cache are judged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from webrec.cache_folder import build_once
from webrec.cli.main import main


def test_only_what_is_built_as_a_whole_is_judged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WEBREC_CACHE", str(tmp_path))
    for name in ("whole", "cut"):
        build_once(tmp_path / name, lambda work: (work / "weights").write_bytes(b"12345") and None)
    (tmp_path / "cut" / "weights").write_bytes(b"1")
    (tmp_path / "gone.lock").touch()
    for name in ("frozen", "searches.sqlite3.owners", ".gone.x1y2z3"):
        (tmp_path / name).mkdir()
    told = json.loads(CliRunner().invoke(main, ["doctor", "--json"]).output)["cached"]
    assert {entry["name"]: entry["complete"] for entry in told} == {
        "whole": True,
        "cut": False,
        ".gone.x1y2z3": False,  # where a builder that was killed worked
        "frozen": None,
        "searches.sqlite3.owners": None,
    }
    lines = CliRunner().invoke(main, ["doctor", "--verify"]).output.splitlines()
    states = {line.split()[0]: line.partition(" MB")[2].strip() for line in lines if " MB" in line}
    assert (states["whole"], states["frozen"], states["searches.sqlite3.owners"]) == ("complete", "", "")
    assert states["cut"].startswith("incomplete")
