"""Text files of data sets, line by line and row by row, and what is said where one cannot be read."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, cast

from webrec.errors import InputError


def open_text(path: Path) -> IO[str]:
    """A text file, also where it is compressed by gzip."""
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def open_bytes(path: Path) -> IO[bytes]:
    """The bytes of a file, also where it is compressed by gzip."""
    opened: Any = gzip.open if path.suffix == ".gz" else open
    return cast("IO[bytes]", opened(path, "rb"))


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of a text file from 1. Raises `InputError` where it cannot be read, decompressed or decoded."""
    number = 0
    try:
        with open_text(path) as file:
            for line in file:
                number += 1
                yield number, line
    except UnicodeDecodeError:
        # Text is decoded in blocks, so that the line that fails may be many after the last one that was read.
        wrong = _undecodable_line(path)
        where = path.name if wrong is None else f"{path.name}, line {wrong}"
        raise InputError(f"{where}: it is not UTF-8 text; save it as UTF-8") from None
    except (OSError, EOFError, zlib.error) as error:
        reason = (
            error.strerror if isinstance(error, OSError) and error.strerror else "the gzip data is damaged or cut off"
        )
        raise InputError(
            f"{path.name}, after line {number}: it cannot be read ({reason}); get the file again"
        ) from None


def _undecodable_line(path: Path) -> int | None:
    """The first line that is not UTF-8; None where the file is damaged as well, before that line."""
    before = 0
    try:
        with open_bytes(path) as file:
            for line in file:  # the byte of a line's end is part of no other character
                try:
                    line.decode("utf-8")
                except UnicodeDecodeError as error:
                    # A line of bytes ends at \n, one of text also at \r alone.
                    return before + len((line[: error.start] + b"x").splitlines())
                before += len(line.splitlines())
    except (OSError, EOFError, zlib.error):
        return None
    return None


def csv_rows(lines: Iterable[str], name: str) -> Iterator[tuple[int, list[str]]]:
    """The fields of each CSV row that has any, and the line that it begins in. `name`: of the file.

    Raises `InputError` for a row that cannot be read, as one whose quote is left open in a large file.
    """
    reader = csv.reader(lines)
    while True:
        begins = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise InputError(
                f"{name}, line {begins}: the row that begins here cannot be read ({error}); close the quote if one is left "
                "open, or shorten the field"
            ) from None
        if row:
            yield begins, row
