"""The frozen file: the same content for the same settings, found again, never half written, never silently another."""

from __future__ import annotations

import errno
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow")

import pyarrow.parquet as pq

from webrec.errors import ConfigurationError, InputError
from webrec.eval.data.build import frozen_examples
from webrec.eval.data.config import WINDOWS, DataConfig
from webrec.eval.data.splitting import leave_one_out

from ...worlds import skewed, write_dataset  # noqa: TID252

DATA = skewed(users=150)


@pytest.fixture
def config(tmp_path: Path) -> DataConfig:
    return DataConfig(path=write_dataset(tmp_path / "set", DATA), min_interactions=0)


def test_examples_are_what_was_split_and_drawn(config: DataConfig, tmp_path: Path) -> None:
    frozen = frozen_examples(config, tmp_path / "frozen")
    split = leave_one_out(DATA)
    training = frozen.training()
    assert training.sequences == split.training.sequences
    assert training.counts == split.training.counts
    assert set(training.items) == set(DATA.items)
    for part, cases in (("validation", split.validation), ("test", split.test)):
        for sampling in frozen.samplings:
            examples = frozen.examples(part, sampling)  # type: ignore[arg-type]
            assert [e.key for e in examples] == [f"{c.user}#{draw}" for c in cases for draw in range(5)]
            for example in examples:
                case = next(c for c in cases if c.user == example.user)
                assert example.history == tuple(t.item_id for t in case.past)[-10:]
                assert (example.target, example.time) == (case.target.item_id, case.target.time)
                assert example.same_day is False
                assert example.target in example.candidates
                assert len(example.candidates) == 20
        assert frozen.past(part)["u0"] == tuple(t.item_id for t in cases[0].past)  # type: ignore[arg-type]


def test_the_same_settings_find_the_same_file_and_others_another(config: DataConfig, tmp_path: Path) -> None:
    first = frozen_examples(config, tmp_path / "frozen")
    (file,) = (tmp_path / "frozen").iterdir()
    made = file.stat().st_mtime_ns
    said: list[str] = []
    again = frozen_examples(config, tmp_path / "frozen", said.append)
    assert (again.digest, file.stat().st_mtime_ns, said) == (first.digest, made, ["reading"])
    elsewhere = frozen_examples(config, tmp_path / "other")
    assert elsewhere.digest == first.digest
    assert frozen_examples(config.model_copy(update={"seed": 1}), tmp_path / "frozen").digest != first.digest
    assert len(list((tmp_path / "frozen").iterdir())) == 2
    with (config.path / "interactions.csv").open("a") as rows:
        rows.write("new,i1,5\r\nnew,i2,6\r\nnew,i3,7\r\n")
    assert frozen_examples(config, tmp_path / "frozen").digest != first.digest


def test_the_manifest_says_how_it_was_made(config: DataConfig, tmp_path: Path) -> None:
    told = frozen_examples(config, tmp_path / "frozen").manifest
    assert set(told["sources"]) == {"interactions.csv", "items.jsonl"}
    assert told["config"]["draws"] == 5
    assert "path" not in told["config"]  # the same data elsewhere is the same data
    assert told["window"] in {20, *WINDOWS}
    assert abs(told["matching"]["popularity hr@10"] - 0.5) < 0.02
    assert told["filtered"]["items"] == 0


def test_the_window_is_judged_on_many_sets_however_few_are_drawn(config: DataConfig, tmp_path: Path) -> None:
    few, more = (
        frozen_examples(config.model_copy(update={"draws": draws, "test_users": 40}), tmp_path).manifest
        for draws in (1, 2)
    )
    assert few["window"] == more["window"]
    assert few["matching as judged"] == more["matching as judged"]
    assert few["matching"] != more["matching"]
    assert abs(few["matching as judged"]["popularity hr@10"] - 0.5) <= 0.02


def test_tuning_examples(config: DataConfig, tmp_path: Path) -> None:
    frozen = frozen_examples(config.model_copy(update={"tuning_examples": 200}), tmp_path)
    examples = frozen.examples("tuning", "uniform")
    assert len(examples) == len({e.key for e in examples}) == frozen.count("tuning") == 200
    test = {e.user: set(e.candidates) for e in frozen.examples("test", "uniform")}
    taken = {user: {t.item_id for t in own} for user, own in DATA.users.items()}
    for example in examples:
        assert (example.part, example.sampling) == ("tuning", "uniform")
        assert example.target in example.candidates
        assert not taken[example.user] & (set(example.candidates) - {example.target})
        assert set(example.candidates) != test[example.user]
    assert frozen_examples(config, tmp_path / "b").count("tuning") == 0


def test_each_part_has_negatives_of_its_own(config: DataConfig, tmp_path: Path) -> None:
    frozen = frozen_examples(config.model_copy(update={"tuning_examples": 200}), tmp_path)
    by_user: dict[str, list[set[str]]] = {}
    for part in ("tuning", "validation", "test"):
        for example in frozen.examples(part, "uniform"):  # type: ignore[arg-type]
            if example.draw == 0:
                by_user.setdefault(example.user, []).append(set(example.candidates) - {example.target})
    shares = [len(a & b) / 19 for own in by_user.values() for a, b in combinations(own, 2)]
    assert len(shares) > 300
    assert np.mean(shares) < 0.06


def test_some_users(config: DataConfig, tmp_path: Path) -> None:
    few = config.model_copy(update={"test_users": 30, "validation_users": 20, "samplings": ("uniform",)})
    frozen = frozen_examples(few, tmp_path)
    users = {e.user for e in frozen.examples("test", "uniform")}
    assert (len(users), len({e.user for e in frozen.examples("validation", "uniform")})) == (30, 20)
    assert len(frozen.training().sequences) == 150
    assert {e.user for e in frozen_examples(few, tmp_path / "b").examples("test", "uniform")} == users
    with pytest.raises(ConfigurationError, match="samplings: matched was not drawn"):
        frozen.examples("test", "matched")


def test_a_window_that_tells_is_refused(config: DataConfig, tmp_path: Path) -> None:
    wide = config.model_copy(update={"window": 600})
    with pytest.raises(InputError, match="lower window"):
        frozen_examples(wide, tmp_path / "frozen")
    assert not (tmp_path / "frozen").exists()


def test_damage_is_told(config: DataConfig, tmp_path: Path) -> None:
    frozen_examples(config, tmp_path / "frozen")
    (file,) = (tmp_path / "frozen").iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigurationError, match="holds no frozen examples, or is damaged"):
        frozen_examples(config, tmp_path / "frozen")
    file.write_bytes(whole)
    table = pq.read_table(file)
    pq.write_table(table.slice(1), file)
    with pytest.raises(ConfigurationError, match="its content is not what was written"):
        frozen_examples(config, tmp_path / "frozen")
    pq.write_table(table.replace_schema_metadata({b"webrec": b'{"format": 99}'}), file)
    with pytest.raises(ConfigurationError, match="format 99"):
        frozen_examples(config, tmp_path / "frozen")


def test_a_full_disk_leaves_nothing_behind(config: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(table: Any, path: Path, **_: Any) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(pq, "write_table", full)
        with pytest.raises(
            ConfigurationError, match=r"output: .* cannot be written \(No space left on device\); free some"
        ):
            frozen_examples(config, tmp_path / "frozen")
    assert list((tmp_path / "frozen").iterdir()) == []
    assert frozen_examples(config, tmp_path / "frozen").digest


def test_the_digest_sees_every_column(config: DataConfig, tmp_path: Path) -> None:
    import pyarrow as pa

    from webrec.eval.data.frozen import content_digest

    frozen_examples(config, tmp_path / "frozen")
    (file,) = (tmp_path / "frozen").iterdir()
    table = pq.read_table(file).replace_schema_metadata(None)
    seen = {content_digest(table, ["a"]), content_digest(table, ["b"])}
    for name in table.column_names:
        values = table[name].to_pylist()
        place = next(n for n in range(len(values) - 1, -1, -1) if values[n] is not None)
        old = values[place]
        values[place] = (
            f"{old}x" if isinstance(old, str) else [*old[:-1], old[-1] + 1] if isinstance(old, list) else None
        )
        column = pa.array(values, table.schema.field(name).type)
        seen.add(content_digest(table.set_column(table.column_names.index(name), name, column), ["a"]))
    assert len(seen) == 2 + len(table.column_names)
