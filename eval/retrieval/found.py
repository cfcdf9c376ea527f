"""What was found for the examples of an evaluation, kept in Parquet files, one file for each piece."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webrec.eval.parquet import read_whole
from webrec.eval.retrieval.retrieve import FoundPage, Retrieved

if TYPE_CHECKING:
    import pyarrow as pa

PIECE = 16
"""Examples searched for together: what is lost, at most, when a run is killed."""


@dataclass(frozen=True, order=True, slots=True)
class SearchPiece:
    """Some examples of one data set, part and sampling, by one way of searching: those from `begin` to `end`."""

    data: str
    retrieval: str
    part: str
    sampling: str
    begin: int
    end: int

    def path(self, folder: Path) -> Path:
        """Where what was found lies under its folder."""
        name = f"{self.part}-{self.sampling}-{self.begin:07}-{self.end:07}.parquet"
        return folder / self.data / self.retrieval / name


def search_pieces(data: str, retrieval: str, part: str, sampling: str, count: int) -> list[SearchPiece]:
    """The pieces of `count` examples."""
    return [
        SearchPiece(data, retrieval, part, sampling, begin, min(begin + PIECE, count))
        for begin in range(0, count, PIECE)
    ]


def found_table(found: Sequence[Retrieved]) -> pa.Table:
    """What was found for a piece's examples, as its file keeps it."""
    import pyarrow as pa

    rows = [
        {
            "key": one.key,
            "state": one.state,
            "query": one.query,
            "keywords": list(one.keywords),
            "pages": json.dumps([asdict(page) for page in one.pages]),
            "left_out": json.dumps(one.left_out),
            "searches": one.searches,
            "tokens_written": one.tokens_written,
            "seconds": one.seconds,
        }
        for one in found
    ]
    return pa.Table.from_pylist(rows)


def read_found(folder: Path, pieces: Iterable[SearchPiece]) -> dict[str, Retrieved]:
    """What was found, by example key. Raises `ConfigurationError` if a piece is missing or damaged."""
    found = {}
    for piece in pieces:
        for row in read_whole(piece.path(folder), piece.end - piece.begin).to_pylist():
            told: dict[str, Any] = {
                **row,
                "keywords": tuple(row["keywords"]),
                "pages": tuple(FoundPage(**page) for page in json.loads(row["pages"])),
                "left_out": json.loads(row["left_out"]),
            }
            found[row["key"]] = Retrieved(**told)
    return found
