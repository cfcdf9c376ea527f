"""The rows of an evaluation: one for each (data set, sampling, system, seed, example), in Parquet files that appear whole."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webrec.errors import ConfigurationError
from webrec.eval.data.dataset import RankingExample
from webrec.eval.metrics.ranking import target_ranks
from webrec.eval.systems.system import Answer

if TYPE_CHECKING:
    import pyarrow as pa

_CELL = ("data", "sampling", "system", "seed")


@dataclass(frozen=True, order=True, slots=True)
class Piece:
    """Some examples of one cell, asked together: those from `begin` to `end` in the frozen order."""

    data: str
    sampling: str
    system: str
    seed: int
    begin: int
    end: int

    def path(self, folder: Path) -> Path:
        """Where its rows lie under the rows' folder."""
        cell = folder / self.data / self.system / f"seed-{self.seed}"
        return cell / f"{self.sampling}-{self.begin:07}-{self.end:07}.parquet"


class RowStore:
    """The rows under one folder. A piece's file is written beside its place and renamed, so it is there whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, piece: Piece) -> bool:
        """Whether the piece was answered."""
        return piece.path(self.folder).exists()

    def write(self, piece: Piece, examples: Sequence[RankingExample], answers: Sequence[Answer]) -> None:
        """Keep the answers to a piece's examples; written twice, they replace one another.

        Raises `ConfigurationError` where they cannot be written; what was there before stays.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        ranks = target_ranks([a.scores for a in answers], [e.candidates.index(e.target) for e in examples])
        rows: list[dict[str, Any]] = [
            {
                **{name: getattr(piece, name) for name in _CELL},
                "key": example.key,
                "user": example.user,
                "draw": example.draw,
                "target": example.target,
                "rank": int(rank),
                "scores": list(answer.scores),
                "seconds": answer.seconds,
                "tokens_read": answer.tokens_read,
                "tokens_written": answer.tokens_written,
                "searches": answer.searches,
            }
            for example, answer, rank in zip(examples, answers, ranks, strict=True)
        ]
        path = piece.path(self.folder)
        fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pylist(rows, schema=_schema()), fresh, compression="zstd")
            fresh.replace(path)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            raise ConfigurationError(
                f"output: {path.parent} cannot be written ({error.strerror or error}); free some space there, then call the same command again"
            ) from None

    def read(self, pieces: Sequence[Piece], columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of `pieces`. Raises `ConfigurationError` if one is missing or damaged."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        tables = []
        for piece in pieces:
            path = piece.path(self.folder)
            try:
                table = pq.read_table(path, columns=None if columns is None else list(columns))
            except FileNotFoundError:
                raise ConfigurationError(
                    f"{path}: it is missing; call webrec eval again to ask for what it held"
                ) from None
            except (OSError, pa.ArrowException):
                raise ConfigurationError(f"{path}: it is damaged; remove it and call webrec eval again") from None
            if table.num_rows != piece.end - piece.begin:
                raise ConfigurationError(
                    f"{path}: it holds {table.num_rows} rows and should hold {piece.end - piece.begin}; remove it and call webrec eval again"
                )
            tables.append(table)
        return pa.concat_tables(tables)


def _schema() -> pa.Schema:
    import pyarrow as pa

    text, whole, real = pa.string(), pa.int64(), pa.float64()
    return pa.schema(
        [
            ("data", text),
            ("sampling", text),
            ("system", text),
            ("seed", whole),
            ("key", text),
            ("user", text),
            ("draw", pa.int32()),
            ("target", text),
            ("rank", pa.int32()),
            ("scores", pa.list_(real)),
            ("seconds", real),
            ("tokens_read", whole),
            ("tokens_written", whole),
            ("searches", whole),
        ]
    )
