"""The frozen examples of a data set: one Parquet file, so that two systems always see the same users and candidates."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from webrec.errors import ConfigurationError
from webrec.eval.data.candidates import Sampling
from webrec.eval.data.dataset import Item, RankingExample, TrainingData
from webrec.eval.data.splitting import Case
from webrec.eval.parquet import write_whole

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 4
Part = Literal["tuning", "validation", "test"]
PARTS: tuple[Part, ...] = ("tuning", "validation", "test")


@dataclass(frozen=True)
class FrozenExamples:
    """All that an evaluation asks and all that may be learned from. `digest`: SHA-256 of the content, whatever wrote the file.

    `manifest`: how it was made: configuration, hashes of the source files, what was left out, the check of matched sets.
    """

    items: Mapping[str, Item]
    manifest: Mapping[str, Any]
    digest: str
    _table: pa.Table
    _times: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def samplings(self) -> tuple[Sampling, ...]:
        """The samplings that were drawn."""
        return tuple(self.manifest["config"]["samplings"])

    def training(self) -> TrainingData:
        """Sequences of the training part, and how often each item occurs in them."""
        ids = self.manifest["items"]
        rows = self._table.filter(self._is("train"))
        sequences = {
            user: tuple(ids[place] for place in past)
            for user, past in zip(rows["user"].to_pylist(), rows["past"].to_pylist(), strict=True)
        }
        counts: dict[str, int] = {}
        for sequence in sequences.values():
            for item_id in sequence:
                counts[item_id] = counts.get(item_id, 0) + 1
        times = {user: self._times[user][: len(own)] for user, own in sequences.items()} if self._times else {}
        return TrainingData(self.items, sequences, counts, times)

    def examples(self, part: Part, sampling: Sampling) -> list[RankingExample]:
        """The examples of a part, user by user, one for each draw. Raises `ConfigurationError` for what was not drawn."""
        if sampling not in self.samplings:
            raise ConfigurationError(f"samplings: {sampling} was not drawn; add it to the data's samplings")
        ids, config = self.manifest["items"], self.manifest["config"]
        size, made = config["candidates"], []
        rows = self._table.filter(self._is(part))
        for row in rows.to_pylist():
            drawn = row[sampling]
            for draw in range(len(drawn) // size):
                made.append(
                    RankingExample(
                        key=f"{row['user']}#{row['number'] + draw}",
                        user=row["user"],
                        draw=draw,
                        history=tuple(ids[place] for place in row["past"][-config["history_items"] :]),
                        candidates=tuple(ids[place] for place in drawn[draw * size : (draw + 1) * size]),
                        target=ids[row["target"]],
                        time=row["time"],
                        same_day=row["same_day"],
                        part=part,
                        sampling=sampling,
                    )
                )
        return made

    def mixed(self, part: Part) -> list[RankingExample]:
        """One draw of each case of a part, the samplings in turn: what a system is fine-tuned on, or chosen by."""
        by_sampling = [[e for e in self.examples(part, s) if e.draw == 0] for s in self.samplings]
        return [by_sampling[place % len(by_sampling)][place] for place in range(len(by_sampling[0]))]

    def count(self, part: Part) -> int:
        """How many examples a part has in each sampling."""
        import pyarrow.compute as pc

        cases = int(pc.sum(self._is(part)).as_py() or 0)
        return cases if part == "tuning" else cases * int(self.manifest["config"]["draws"])

    def past(self, part: Part) -> dict[str, tuple[str, ...]]:
        """Everything each user of a part took before the target, oldest first."""
        ids = self.manifest["items"]
        rows = self._table.filter(self._is(part))
        return {
            user: tuple(ids[place] for place in past)
            for user, past in zip(rows["user"].to_pylist(), rows["past"].to_pylist(), strict=True)
        }

    def _is(self, part: str) -> Any:
        import pyarrow.compute as pc

        return pc.equal(self._table["part"], part)


def make_table(
    sequences: Mapping[str, Sequence[str]],
    cases: Mapping[Part, Sequence[Case]],
    drawn: Mapping[tuple[Part, Sampling], Sequence[Sequence[Sequence[str]]]],
    samplings: Sequence[Sampling],
    items: Sequence[str],
) -> pa.Table:
    """One row for each training sequence and each case; items by their place in `items`. A user's cases of a part are numbered."""
    import pyarrow as pa

    places = {item_id: place for place, item_id in enumerate(items)}
    rows: list[dict[str, Any]] = [
        {"part": "train", "user": user, "past": [places[i] for i in sequence]} for user, sequence in sequences.items()
    ]
    for part in PARTS:
        seen: Counter[str] = Counter()
        for number, case in enumerate(cases[part]):
            row: dict[str, Any] = {
                "part": part,
                "user": case.user,
                "number": seen[case.user],
                "past": [places[t.item_id] for t in case.past],
                "target": places[case.target.item_id],
                "time": case.target.time,
                "same_day": case.same_day,
            }
            seen[case.user] += 1
            for sampling in samplings:
                row[sampling] = [places[i] for one in drawn[part, sampling][number] for i in one]
            rows.append(row)
    schema = pa.schema(
        [
            ("part", pa.string()),
            ("user", pa.string()),
            ("number", pa.int32()),
            ("past", pa.list_(pa.int32())),
            ("target", pa.int32()),
            ("time", pa.int64()),
            ("same_day", pa.bool_()),
            *((sampling, pa.list_(pa.int32())) for sampling in samplings),
        ]
    )
    return pa.Table.from_pylist(rows, schema=schema)


def content_digest(table: pa.Table, items: Sequence[str]) -> str:
    """SHA-256 over the rows and the ids they refer to; the same for equal content, whatever compressed it."""
    digest = hashlib.sha256(json.dumps([FORMAT, list(items), table.column_names]).encode())
    for name in table.column_names:
        column = table[name].combine_chunks()
        for values in (column.is_null(), column.value_lengths() if _is_list(column) else None, column):
            if values is None:
                continue
            flat = values.flatten() if _is_list(values) else values
            if str(flat.type) == "string":
                digest.update("\0".join(value or "" for value in flat.to_pylist()).encode())
            else:
                digest.update(np.asarray(flat.cast("int64").fill_null(-1)).tobytes())
    return digest.hexdigest()


def _is_list(values: Any) -> bool:
    return str(values.type).startswith("list")


def write_frozen(path: Path, table: pa.Table, manifest: Mapping[str, Any]) -> str:
    """Write the file, whole or not at all; returns the content's digest. Raises `ConfigurationError` where it cannot."""
    digest = content_digest(table, manifest["items"])
    told = {b"webrec": json.dumps({"format": FORMAT, "digest": digest, **manifest}).encode()}
    write_whole(path, table.replace_schema_metadata(told))
    return digest


def read_frozen(
    path: Path, items: Mapping[str, Item], times: Mapping[str, tuple[int, ...]] | None = None
) -> FrozenExamples:
    """Read the file and check its content against its digest. `items`: the filtered data set's; `times`: of each user's steps.

    Raises `ConfigurationError` if it is damaged, of another format, or names an item that the data set has not.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        manifest = json.loads((table.schema.metadata or {})[b"webrec"])
    except (OSError, pa.ArrowException, KeyError, ValueError):
        raise ConfigurationError(
            f"{path}: it holds no frozen examples, or is damaged; remove it to make it again"
        ) from None
    if manifest.get("format") != FORMAT:
        raise ConfigurationError(f"{path}: it is of format {manifest.get('format')} and this is {FORMAT}; remove it")
    table = table.replace_schema_metadata(None)
    if content_digest(table, manifest["items"]) != manifest["digest"]:
        raise ConfigurationError(f"{path}: its content is not what was written; remove it to make it again")
    if missing := next((i for i in manifest["items"] if i not in items), None):
        raise ConfigurationError(f"{path}: its item {missing} is not in the data set; remove it to make it again")
    return FrozenExamples(items, manifest, manifest["digest"], table, times or {})
