"""`webrec data` as a user meets it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

pytest.importorskip("numpy")

from webrec.cli.main import main

from ..release_server import published  # noqa: TID252
from ..worlds import skewed, write_dataset  # noqa: TID252


def call(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["data", *arguments])
    return result.exit_code, result.output


def test_list() -> None:
    code, out = call("list")
    assert code == 0
    for name in ("ml-1m", "amazon-2014-beauty", "amazon-2018-office", "amazon-2023-games"):
        assert f"\n{name}" in f"\n{out}"


def test_show(tmp_path: Path) -> None:
    code, out = call("show", str(write_dataset(tmp_path / "films", skewed(users=30))))
    assert code == 0
    assert "users, items, interactions" in out
    assert "30, " in out
    assert "Video Games" in out


def test_get(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with published("films", skewed(users=30), monkeypatch):
        code, out = call("get", "films", "--to", str(tmp_path / "here"))
    assert code == 0
    assert "terms: free\ncite: nobody" in out
    assert (tmp_path / "here" / "films.zip").is_file()
    code, out = call("show", str(tmp_path / "here"))
    assert code == 2  # a zip is MovieLens by its name, ml-…
    (tmp_path / "here" / "films.zip").rename(tmp_path / "here" / "ml-films.zip")
    code, out = call("show", str(tmp_path / "here"))
    assert code == 0
    assert "movielens" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("get", "nothing"), "webrec: NAME: 'nothing' is unknown; webrec data list shows the names"),
        (("show", "nowhere"), "webrec: path: nowhere is not a folder"),
    ],
)
def test_wrong_input(arguments: tuple[str, ...], message: str) -> None:
    code, out = call(*arguments)
    assert code == 2
    assert message in out
    assert "Traceback" not in out
