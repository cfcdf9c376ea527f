"""The file of a store: what cannot be used is refused in one sentence, and many may use one at once."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import pickle
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from webrec.cache_folder import cache_root
from webrec.errors import ConfigurationError, SearchError
from webrec.tools.searching import ledger, owners
from webrec.tools.searching.database import WRITES_PER_CHECKPOINT, Database
from webrec.tools.searching.ledger import Call
from webrec.tools.searching.limits import Limits
from webrec.tools.searching.owners import Owner, is_alive
from webrec.tools.searching.store import SearchStore, open_store


def foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE users (name)")


def newer(path: Path) -> None:
    Database(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version=99")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path.write_text("not a database, but long enough to look at " * 50), "is not a search store"),
        (foreign, "is not a search store"),
        (newer, "has format 99"),
        (lambda path: path.mkdir(), "cannot be opened"),
    ],
)
async def test_a_file_that_is_no_store_is_refused_and_untouched(tmp_path: Path, make: object, says: str) -> None:
    path = tmp_path / "s"
    make(path)  # type: ignore[operator]
    before = path.read_bytes() if path.is_file() else b""
    store = SearchStore(path)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=f"^search_store: .*{says}"):
            await store.find("page", "k")
    assert (path.read_bytes() if path.is_file() else b"") == before
    store.close()


async def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"^search_store: .*cannot be opened"):
        await SearchStore(tmp_path / "file" / "s").find("page", "k")


async def test_a_full_disk_is_one_sentence_and_the_store_stays_readable(store: SearchStore) -> None:
    await store.put("page", "a", "kept")
    store.run_now(
        lambda c: c.execute(f"PRAGMA max_page_count={c.execute('PRAGMA page_count').fetchone()[0]}").fetchall()
    )
    with pytest.raises(SearchError, match=r"^search_store: .*disk is full"):
        await store.put("page", "b", "x" * 100_000)
    assert await store.find("page", "b") is None
    found = await store.find("page", "a")
    assert found is not None
    assert found.content == "kept"


async def test_what_cannot_be_cleared_up_keeps_nobody_waiting(store: SearchStore) -> None:
    def claim(connection: sqlite3.Connection) -> str:
        return store.owner()

    token = await store.run(claim)
    folder = store.path.with_name(store.path.name + ".owners")
    assert is_alive(folder, token)
    store.run_later(lambda c: c.execute("no such statement"))  # type: ignore[arg-type, return-value]
    await store.find("page", "k")
    assert not is_alive(folder, token)
    assert await store.run(claim) != token


async def test_a_file_taken_away_is_made_anew(store: SearchStore) -> None:
    await store.put("page", "a", 1)
    store.path.unlink()
    await store.put("page", "b", 2)
    other = SearchStore(store.path)
    assert [await other.find("page", key) is None for key in "ab"] == [True, False]
    other.close()


async def test_opening_marks_the_calls_of_the_dead_as_lost(store: SearchStore) -> None:
    made = [Call(owner, "p", "k", owner, 1.0) for owner in ("dead", await store.run(lambda c: store.owner()))]
    for call in made:
        await store.run(lambda c, b=call: ledger.book(c, b, Limits(0, None, None, 0, "day"), 1e9), write=True)
    other = SearchStore(store.path)
    states = dict(await other.run(lambda c: c.execute("SELECT id, state FROM calls").fetchall()))
    assert states == {"dead": "lost", made[1].id: "started"}
    other.close()


async def test_only_its_user_may_read_it(store: SearchStore) -> None:
    await store.put("page", "a", 1)
    for file in store.path.parent.glob(store.path.name + "*"):
        assert file.is_dir() or stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_the_log_does_not_grow_without_end(store: SearchStore) -> None:
    for number in range(WRITES_PER_CHECKPOINT):
        await store.run(lambda c, n=number: c.execute("INSERT INTO slots VALUES (?, 0, 0)", (str(n),)), write=True)
    assert store.path.with_name(store.path.name + "-wal").stat().st_size < 100_000


def test_a_long_reader_holds_no_writer_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one whose turn it is to empty the log does not wait for an export: others would wait for it."""
    monkeypatch.setattr("webrec.tools.searching.database.WRITES_PER_CHECKPOINT", 1)
    database = Database(tmp_path / "store")
    with closing(sqlite3.connect(tmp_path / "store")) as reader:
        with database.transaction() as connection:
            connection.execute("INSERT INTO slots VALUES ('p', 0, 0)")
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM slots").fetchall()

        def write() -> None:
            with database.transaction() as connection:
                connection.execute("INSERT INTO slots VALUES ('q', 0, 0)")

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        writer.join(15)  # half of what it would wait
        assert not writer.is_alive()
    (timeout,) = database.connection.execute("PRAGMA busy_timeout").fetchone()
    assert timeout == 30_000
    database.close()


async def test_a_transaction_is_all_or_nothing(store: SearchStore) -> None:
    def half(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO slots VALUES ('p', 1, 1)")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await store.run(half, write=True)
    assert store.run_now(lambda c: c.execute("SELECT * FROM slots").fetchall()) == []


async def test_work_that_was_begun_is_done_though_its_task_is_cancelled(store: SearchStore) -> None:
    gate = threading.Event()
    blocked = asyncio.create_task(store.run(lambda c: gate.wait(10)))
    queued = asyncio.create_task(store.put("page", "k", "paid for"))
    await asyncio.sleep(0.05)
    queued.cancel()
    gate.set()
    await blocked
    assert await store.find("page", "k") is not None


def test_many_threads_open_one_new_file(tmp_path: Path) -> None:
    """Separate connections, as separate processes have."""
    failures, start = [], threading.Barrier(8)

    def use(number: int) -> None:
        try:
            start.wait()
            store = SearchStore(tmp_path / "s")
            for i in range(20):
                asyncio.run(store.put("page", f"{number} {i}", i))
            store.close()
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=use, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    store = SearchStore(tmp_path / "s")
    assert store.run_now(lambda c: c.execute("SELECT count(*) FROM records").fetchone()) == (160,)
    store.close()


def test_one_store_per_file_and_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webrec.tools.searching.store.cache_root", cache_root)  # as it is outside tests
    monkeypatch.setenv("WEBREC_CACHE", str(tmp_path))
    store = open_store()
    assert store.path == tmp_path / "searches.sqlite3"
    assert open_store(tmp_path / "searches.sqlite3") is store
    assert pickle.loads(pickle.dumps(store)) is store
    store.close()
    assert open_store() is not store


# Owners


def test_an_owner_lives_until_it_closes(tmp_path: Path) -> None:
    owner = Owner(tmp_path / "owners")
    assert is_alive(tmp_path / "owners", owner.token)
    owners.sweep(tmp_path / "owners")
    assert is_alive(tmp_path / "owners", owner.token)
    owner.close()
    assert not is_alive(tmp_path / "owners", owner.token)
    assert not is_alive(tmp_path / "owners", "never was")
    assert list((tmp_path / "owners").iterdir()) == []


def test_a_killed_owner_is_dead_and_its_file_is_swept(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from webrec.tools.searching.owners import Owner; o = Owner(pathlib.Path(sys.argv[1])); "
    )
    code += "print(o.token, flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout is not None
        token = process.stdout.readline().strip()
        assert is_alive(tmp_path, token)
        process.kill()
        process.wait()
    owners.sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert not is_alive(tmp_path, token)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_uses_the_store_and_does_not_pass_for_its_parent(tmp_path: Path) -> None:
    store = SearchStore(tmp_path / "s")
    parent = store.run_now(lambda c: store.owner())
    asyncio.run(store.put("page", "parent", 1))
    results = multiprocessing.get_context("fork").SimpleQueue()

    def child() -> None:
        asyncio.run(store.put("page", "child", 1))
        results.put(store.run_now(lambda c: store.owner()))
        os.read(hold, 1)  # outlives the parent's owner

    hold, let_go = os.pipe()
    process = multiprocessing.get_context("fork").Process(target=child, daemon=True)
    process.start()
    assert results.get() != parent
    asyncio.run(store.put("page", "after", 1))
    assert is_alive(tmp_path / "s.owners", parent)
    assert store._owner is not None
    store._owner.forget()  # as when the parent is killed
    assert not is_alive(tmp_path / "s.owners", parent)
    os.write(let_go, b".")
    process.join(10)
    assert process.exitcode == 0
    assert store.run_now(lambda c: c.execute("SELECT key FROM records ORDER BY key").fetchall()) == [
        ("after",),
        ("child",),
        ("parent",),
    ]
    store.close()
