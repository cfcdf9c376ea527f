"""`webrec crowd`: what it writes over, and what it leaves alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

pytest.importorskip("pyarrow")

from webrec.cli.main import main
from webrec.errors import ConfigurationError
from webrec.tools.crowd.saved import ITEMS, LEARNING, MODEL, SEQUENCES, check_crowd_folder, load_crowd, save_crowd

from ..crowds import CROWD, learned  # noqa: TID252
from ..worlds import chained, dataset, write_dataset  # noqa: TID252


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(main, ["crowd", *map(str, arguments)])


def held(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set, and a fit that must not begin."""
    folder = tmp_path / "data"
    write_dataset(folder, dataset(chained(users=20, length=6)))

    def fit(*_: object, **__: object) -> None:
        raise AssertionError("something is computed")

    monkeypatch.setattr("webrec.eval.saved_crowd.make_crowd", fit)
    return folder


def test_the_data_set_is_not_written_over(data: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(data)
    before = held(data)
    for output in (data, tmp_path / "link", tmp_path / "data" / ".." / "data"):
        done = run(data, "--output", output)
        assert (done.exit_code, held(data)) == (2, before), done.output
        assert "is the folder of the data; give another folder" in done.stderr


@pytest.mark.parametrize("name", ["interactions.csv", "notes.txt", ITEMS])
def test_a_folder_of_something_else_is_not_written_to(data: Path, tmp_path: Path, name: str) -> None:
    output = tmp_path / "other"
    output.mkdir()
    (output / name).write_bytes(b"mine")
    done = run(data, "--output", output)
    assert (done.exit_code, held(output)) == (2, {name: b"mine"})
    assert f"holds '{name}' and no crowd.json; give a new folder" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("where", ["file", "file/crowd"])
def test_what_cannot_be_written_is_told_before_the_fit(data: Path, tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("{}")
    done = run(data, "--output", tmp_path / where)
    assert done.exit_code == 2, done.output
    assert done.stderr.startswith("webrec: output: ")
    assert done.stderr.count("\n") == 1


def test_a_folder_that_is_closed_is_told_before_the_fit(data: Path, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    (tmp_path / "closed").mkdir(mode=0o500)
    assert (
        "cannot be written (Permission denied); give another folder"
        in run(data, "--output", tmp_path / "closed").stderr
    )


def test_checking_leaves_nothing(tmp_path: Path) -> None:
    check_crowd_folder(tmp_path / "new")
    assert not (tmp_path / "new").exists()
    check_crowd_folder(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_crowd_is_replaced_and_a_run_that_was_stopped_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / LEARNING).mkdir()
    (tmp_path / LEARNING / "training.json").write_text("{}")
    check_crowd_folder(tmp_path)  # stopped while it learned
    save_crowd(tmp_path, learned())
    (tmp_path / "notes.txt").touch()
    check_crowd_folder(tmp_path)  # a crowd, with something beside it
    (tmp_path / "notes.txt").unlink()
    (tmp_path / MODEL).unlink()
    check_crowd_folder(tmp_path)  # stopped while it was saved
    (tmp_path / SEQUENCES).unlink()
    with pytest.raises(ConfigurationError, match=r"holds 'items\.jsonl\.gz' and no crowd\.json"):
        check_crowd_folder(tmp_path)

    def cut(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    new = tmp_path / "new"
    with monkeypatch.context() as patch:
        patch.setattr("webrec.tools.crowd.saved.json.dumps", cut)
        with pytest.raises(KeyboardInterrupt):
            save_crowd(new, CROWD)
    check_crowd_folder(new)
    save_crowd(new, CROWD)
    assert load_crowd(new).records.count == CROWD.records.count
