"""The rows of an evaluation: one for each (data set, sampling, system, seed, example), in Parquet files that appear whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webrec.eval.data.dataset import RankingExample
from webrec.eval.metrics.ranking import target_ranks
from webrec.eval.parquet import read_whole, write_whole
from webrec.eval.systems.system import Answer

if TYPE_CHECKING:
    import pyarrow as pa

_CELL = ("data", "sampling", "system", "seed")


@dataclass(frozen=True, order=True, slots=True)
class Piece:
    """Some examples of one cell, asked together: those from `begin` to `end` in the frozen order.

    `fitting`: of the validation part, for the systems that are fused of this one; what such pieces say is not reported.
    """

    data: str
    sampling: str
    system: str
    seed: int
    begin: int
    end: int
    fitting: bool = False

    def path(self, folder: Path) -> Path:
        """Where its rows lie under the rows' folder, or, of the validation part, under the one beside it."""
        if self.fitting:  # beside the rows, since the keys are alike: read together they would mix validation with test
            folder = folder.with_name(f"{folder.name}_fitting")
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
        write_whole(piece.path(self.folder), pa.Table.from_pylist(rows, schema=_schema()))

    def read(self, pieces: Sequence[Piece], columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of `pieces`. Raises `ConfigurationError` if one is missing or damaged."""
        import pyarrow as pa

        return pa.concat_tables(
            [read_whole(piece.path(self.folder), piece.end - piece.begin, columns) for piece in pieces]
        )


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
