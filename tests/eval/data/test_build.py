"""What is said of a data set of which nothing can be frozen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from webrec.errors import ConfigurationError, InputError, MissingExtraError
from webrec.eval.data.build import frozen_examples
from webrec.eval.data.config import DataConfig

from ...worlds import dataset, write_dataset  # noqa: TID252


def refused(
    folder: Path, sequences: Mapping[str, Sequence[str]], titles: Mapping[str, str] | None = None, **settings: Any
) -> str:
    config = DataConfig(path=write_dataset(folder / "office", dataset(sequences, titles)), **settings)
    with pytest.raises(InputError) as caught:
        frozen_examples(config, folder / "frozen")
    assert not (folder / "frozen").exists()
    return str(caught.value)


def test_the_extra_is_asked_for_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webrec.eval.data.build.find_spec", lambda name: None)
    with pytest.raises(
        MissingExtraError, match=r"pyarrow is not installed; install it with: pip install 'webrec\[eval\]'"
    ):
        frozen_examples(DataConfig(path=Path("nowhere")), Path("nowhere"))


def test_the_filter_left_too_few(tmp_path: Path) -> None:
    sequences = {f"u{n}": [f"i{n}", f"i{n + 1}"] for n in range(599)}
    assert refused(tmp_path, {**sequences, "u": "abab"}, min_interactions=2) == (
        "protocol: no user of office makes a test (the target is in the history: 1), and min_interactions 2 left 1 of 600 "
        "users; lower min_interactions: each user needs three items, the last new by id and title"
    )


def test_titles_that_are_all_alike(tmp_path: Path) -> None:
    sequences = {f"u{n}": "abc" for n in range(9)}
    assert refused(tmp_path, sequences, dict.fromkeys("abc", "Soap"), min_interactions=0) == (
        "protocol: no user of office makes a test (the target's title is in the history: 9); each user needs three items, "
        "the last new by id and title"
    )


def test_titles_that_are_missing(tmp_path: Path) -> None:
    told = refused(tmp_path, {"u": "abc", "v": "ab"}, {"c": ""}, min_interactions=0)
    assert "(users with fewer than three items: 2), and missing titles left 2 of 2 users; add titles: each" in told


def test_a_time_cut_that_nobody_crosses(tmp_path: Path) -> None:
    told = refused(tmp_path, {"u": "a", "v": "b"}, min_interactions=0, protocol="time_cut")
    assert told == (
        "protocol: no user of office makes a test (users with nothing before the period: 2); each user needs an item before "
        "the last tenth of the interactions and one in it, new by id and title"
    )


def test_a_folder_that_cannot_name_files(tmp_path: Path) -> None:
    config = DataConfig(path=write_dataset(tmp_path / "films?", dataset({"u": "abc"})))
    with pytest.raises(ConfigurationError, match=r"name: 'films\?' cannot name files; set name"):
        frozen_examples(config, tmp_path / "frozen")
