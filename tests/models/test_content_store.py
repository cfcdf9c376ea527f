"""The store of results: many processes, killed ones, a bound, and what is no store."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from webrec.errors import ConfigurationError
from webrec.models import content_store
from webrec.models.content_store import ContentStore, content_key, open_content_store

WRITER = """
import sys
from pathlib import Path
from webrec.models.content_store import ContentStore, content_key
store = ContentStore(Path(sys.argv[1]))
first, count = int(sys.argv[2]), int(sys.argv[3])
for number in range(first, first + count):
    keys = [content_key(str(number), str(part)) for part in range(5)]
    store.put({key: key * 400 for key in keys})
    print(number, flush=True)
"""


def writer(path: Path, first: int, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(first), str(count)], stdout=subprocess.PIPE, text=True
    )


def check(store: ContentStore, number: int) -> None:
    keys = [content_key(str(number), str(part)) for part in range(5)]
    assert store.get(keys) == {key: key * 400 for key in keys}


def test_what_was_put_is_there_and_nothing_else(tmp_path: Path) -> None:
    store = ContentStore(tmp_path / "new folder" / "x.sqlite3")
    assert store.get([b"a"]) == {}
    store.put({b"a": b"1", b"b": b"\0" * 10})
    store.put({b"a": b"2"})
    assert store.get([b"b", b"a", b"c"]) == {b"a": b"2", b"b": b"\0" * 10}
    many = {bytes([n // 256, n % 256]): str(n).encode() for n in range(2000)}
    store.put(many)
    assert store.get(list(many)) == many
    assert (store.path.stat().st_mode & 0o777) == 0o600
    store.close()
    assert ContentStore(store.path).get([b"a"]) == {b"a": b"2"}


def test_keys_tell_where_a_part_ends() -> None:
    assert len({content_key("ab", "c"), content_key("a", "bc"), content_key("abc"), content_key("abc", "")}) == 4


def test_killed_writers_leave_what_was_there(tmp_path: Path) -> None:
    path, seen = tmp_path / "x.sqlite3", 0
    generator = random.Random(0)
    for _ in range(6):
        process = writer(path, seen, 100_000)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(generator.random() * 0.1)
        process.send_signal(signal.SIGKILL)
        told = process.stdout.read().split()
        process.wait()
        seen = max(seen, int(told[-1]) if told else seen) + 1
    store = ContentStore(path)
    for number in range(seen):
        check(store, number)
    store.put({b"after": b"it"})
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_processes_and_threads_at_once(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite3"
    processes = [writer(path, 1000 * n, 25) for n in range(3)]
    store = ContentStore(path)

    def work(thread: int) -> None:
        for number in range(20):
            key = content_key("thread", str(thread), str(number))
            store.put({key: key})
            assert store.get([key]) == {key: key}

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, range(3)))
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    for process in processes:
        assert process.stdout is not None
        process.stdout.close()
    for n in range(3):
        for number in range(25):
            check(store, 1000 * n + number)


def test_the_file_stays_within_its_bound_and_the_newest_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1e9]
    monkeypatch.setattr(content_store.time, "time", lambda: now[0])
    store = ContentStore(tmp_path / "x.sqlite3", most_bytes=200_000)
    precious = content_key("precious")
    store.put({precious: b"p" * 1000})
    for number in range(400):
        now[0] += 4000  # so that every use is written down
        store.put({content_key(str(number)): os.urandom(2000)})
        assert store.get([precious]) == {precious: b"p" * 1000}  # used again and again, so never the oldest
    assert store.path.stat().st_size < 250_000
    assert content_key("399") in store.get([content_key("399")])
    assert store.get([content_key("0")]) == {}
    store.put({b"huge": os.urandom(300_000)})
    assert store.get([b"huge"]) == {}  # more than may be kept at all


@pytest.mark.parametrize("content", [b"no database at all, but text" * 50, None])
def test_what_is_no_store_is_one_clear_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.sqlite3"
    if content is None:
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE other (x)")
        connection.commit()
        connection.close()
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match=r"^reuse_computed: .*x\.sqlite3' cannot be used .*delete the file"):
        ContentStore(path).get([b"a"])
    assert path.read_bytes() == before


def test_one_store_a_process_in_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBREC_CACHE", str(tmp_path))
    store = open_content_store()
    assert store is open_content_store()
    assert store.path == tmp_path / "computed.sqlite3"
