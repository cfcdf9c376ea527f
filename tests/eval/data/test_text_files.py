"""Reading lines and rows, and the line that is named where that fails."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from webrec.errors import InputError
from webrec.eval.data.text_files import csv_rows, numbered_lines


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("compressed", [False, True])
def test_the_line_that_is_not_utf8(tmp_path: Path, end: str, compressed: bool) -> None:
    lines = ["Crème"] * 5000
    for wrong in (0, 2, 3777, 4999):
        rows = [line.encode("latin-1" if number == wrong else "utf-8") for number, line in enumerate(lines)]
        whole = end.encode().join(rows)
        path = tmp_path / ("a.txt.gz" if compressed else "a.txt")
        path.write_bytes(gzip.compress(whole) if compressed else whole)
        with pytest.raises(
            InputError, match=rf"^{path.name}, line {wrong + 1}: it is not UTF-8 text; save it as UTF-8$"
        ):
            list(numbered_lines(path))


def test_a_character_that_is_cut_off_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("one\ntwo\nCrè".encode()[:-1])
    with pytest.raises(InputError, match=r"a.txt, line 3: it is not UTF-8"):
        list(numbered_lines(tmp_path / "a.txt"))


def test_damaged_before_the_line_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(path: Path) -> None:
        raise EOFError

    (tmp_path / "a.txt").write_bytes(b"\xff")
    monkeypatch.setattr("webrec.eval.data.text_files.open_bytes", damaged)
    with pytest.raises(InputError, match=r"^a.txt: it is not UTF-8"):
        list(numbered_lines(tmp_path / "a.txt"))


def test_rows_have_the_line_that_they_begin_in() -> None:
    rows = csv_rows(["a,b\n", "\n", '"1\n', '",2\n', "3,4\n"], "a.csv")
    assert list(rows) == [(1, ["a", "b"]), (3, ["1\n", "2"]), (5, ["3", "4"])]


def test_a_field_that_is_too_long() -> None:
    with pytest.raises(InputError, match=r"a.csv, line 2: the row .* cannot be read .*; close the quote .* shorten"):
        list(csv_rows(["a,b\n", f"1,{'x' * 200_000}\n"], "a.csv"))
