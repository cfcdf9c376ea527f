"""Parquet files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from webrec.errors import ConfigurationError
from webrec.eval.whole_text import unwritable

if TYPE_CHECKING:
    import pyarrow as pa


def write_whole(path: Path, table: pa.Table) -> None:
    """Write a Parquet file that is there whole or not at all. Raises `ConfigurationError` where it cannot be written."""
    import pyarrow.parquet as pq

    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, fresh, compression="zstd")
        fresh.replace(path)
    except OSError as error:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise unwritable(path.parent, error) from None


def read_whole(path: Path, rows: int, columns: Sequence[str] | None = None) -> pa.Table:
    """The `rows` rows of such a file. Raises `ConfigurationError` if it is missing, damaged, or has another number of rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, columns=None if columns is None else list(columns))
    except FileNotFoundError:
        raise ConfigurationError(f"{path}: it is missing; call webrec eval again to ask for what it held") from None
    except (OSError, pa.ArrowException):
        raise ConfigurationError(f"{path}: it is damaged; remove it and call webrec eval again") from None
    if table.num_rows != rows:
        raise ConfigurationError(
            f"{path}: it holds {table.num_rows} rows and should hold {rows}; remove it and call webrec eval again"
        )
    return table
