"""A disk that takes no more: one sentence, and nothing is lost, whatever was being written."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow")

import pyarrow.parquet as pq

from webrec.errors import ConfigurationError
from webrec.eval.evaluation import plan, run
from webrec.eval.evaluation.config import EvalConfig, read_eval_config

from .runs import rows, write_config


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EvalConfig:
    monkeypatch.setattr(plan, "PIECE", 50)
    monkeypatch.setenv("WEBREC_CACHE", str(tmp_path / "cache"))
    return read_eval_config(write_config(tmp_path))


def test_a_full_disk_loses_nothing(config: EvalConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    write, written = pq.write_table, []

    def filling(table: Any, path: Path, **options: Any) -> None:
        if "rows" in str(path):
            written.append(path)
            if len(written) > 5:
                path.write_bytes(b"half")
                raise OSError(errno.ENOSPC, "No space left on device")
        write(table, path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(pq, "write_table", filling)
        with pytest.raises(ConfigurationError, match=r"cannot be written \(No space left on device\); free some space"):
            run.evaluate(config)
    assert not list(config.output.glob("rows/**/*.new"))
    assert len(rows(config.output)) == 5 * 50 - 10  # the fifth piece of a cell is the last, of 40 rows
    run.evaluate(config)
    assert len(rows(config.output)) == 1920


@pytest.mark.parametrize("name", ["run.json", "examples.json", "summary.json"])
def test_a_disk_that_is_full_at_the_end_loses_nothing(
    name: str, config: EvalConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_text

    def filling(path: Path, text: str, *more: Any, **options: Any) -> int:
        if path.name == f"{name}.new":
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, text, *more, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", filling)
        with pytest.raises(ConfigurationError, match=r"cannot be written \(No space left on device\); free some space"):
            run.evaluate(config)
    assert not list(config.output.glob("*.new"))
    assert not (config.output / name).exists()
    before = {path: path.stat().st_mtime_ns for path in config.output.glob("rows/**/*.parquet")}
    assert bool(before) == (name != "run.json")  # which is written first
    run.evaluate(config)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(rows(config.output)) == 1920
