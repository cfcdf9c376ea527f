"""The search store: recorded answers, limits and spending in one file that many processes of one machine share."""

from __future__ import annotations

import atexit
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from webrec.cache_folder import cache_root
from webrec.errors import ConfigurationError
from webrec.tools.searching import claims, owners, records
from webrec.tools.searching.database import Database
from webrec.tools.searching.joining import Bell, Flights
from webrec.tools.searching.records import Kind, Record

T = TypeVar("T")
_stores: dict[Path, SearchStore] = {}
_all: weakref.WeakSet[SearchStore] = weakref.WeakSet()
_lock = threading.Lock()
_left_to_parent: list[Any] = []
"""Connections that a forked child inherited: closing or freeing them would disturb the parent."""


def open_store(path: str | Path | None = None) -> SearchStore:
    """The store at `path` (by default in WebRec's cache folder), one per process."""
    file = (Path(path).expanduser() if path is not None else cache_root() / "searches.sqlite3").absolute()
    with _lock:
        if file not in _stores:
            _stores[file] = SearchStore(file)
        return _stores[file]


class SearchStore:
    """One store. Nothing is opened before it is first used; then one thread of its own does all work on the file.

    Safe for many processes, threads and event loops. Every method raises `ConfigurationError` if the file cannot be
    opened or is no store, `SearchError` if it cannot be written; both name `search_store`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser().absolute()
        self._begin()
        _all.add(self)

    def _begin(self) -> None:
        self.flights = Flights()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="webrec-search-store")
        self._database: Database | None = None
        self._file: tuple[int, int] | None = None
        self._owner: owners.Owner | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Sent to another process, it is the store at the same path there."""
        return open_store, (str(self.path),)

    async def find(self, kind: Kind, key: str, max_age_days: float | None = None) -> Record | None:
        """The record of a search (`records.search_key`) or page (its address) that is not older than `max_age_days`.

        None for the age: however old it is.
        """
        since = records.oldest_admitted(time.time(), max_age_days)
        return await self.run(lambda connection: records.find(connection, kind, key, since))

    async def put(self, kind: Kind, key: str, content: Any, provider: str = "") -> Record:
        """Record a JSON value now, in place of an older one; on disk when this returns."""
        record = Record(kind, key, content, records.utc(time.time()), provider)
        await self.run(lambda connection: records.put(connection, record), write=True, durable=True)
        return record

    async def run(self, work: Callable[[sqlite3.Connection], T], *, write: bool = False, durable: bool = False) -> T:
        """Do `work` on the store's thread, in one transaction if it writes. It is also done if the task is cancelled."""
        future = self._submit(work, write, durable)
        bell = Bell()
        future.add_done_callback(lambda _: bell.ring())
        await bell.wait()
        return future.result()

    def run_now(self, work: Callable[[sqlite3.Connection], T], *, write: bool = False) -> T:
        """As `run`, for callers without an event loop."""
        return self._submit(work, write, write).result()

    def run_later(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """Write after all that was asked for before; waits for nothing, so it also works in a task being cancelled."""
        try:
            self._worker.submit(self._clear_up, work)
        except RuntimeError:  # the interpreter is ending; others will see that this process is gone
            return

    def _clear_up(self, work: Callable[[sqlite3.Connection], None]) -> None:
        try:
            self._execute(work, True, False)
        except BaseException:
            self._retire()  # what could not be cleared up must keep nobody waiting: others are to take us for dead
            raise

    def owner(self) -> str:
        """Token of this process, for claims and calls. Called on the store's thread, inside `run`."""
        if self._owner is None:
            try:
                self._owner = owners.Owner(self._owners_folder)
            except OSError as error:
                raise ConfigurationError(
                    f"search_store: no file can be made in {str(self._owners_folder)!r} ({error.strerror}); "
                    "name a file in a folder that can be written"
                ) from None
        return self._owner.token

    async def take_over_if_dead(self, owner: str) -> bool:
        """Free the claims of `owner` and mark its calls lost if its process died."""

        def work(connection: sqlite3.Connection) -> bool:
            return not owners.is_alive(self._owners_folder, owner)

        if not await self.run(work):
            return False
        await self.run(lambda connection: claims.bury(connection, owner), write=True)
        return True

    def close(self) -> None:
        """Finish what was asked for and let go of the file; using the store again opens it again."""
        worker = self._worker
        worker.submit(self._let_go).result()
        worker.shutdown()
        with _lock:
            if _stores.get(self.path) is self:
                del _stores[self.path]
        self._begin()

    @property
    def _owners_folder(self) -> Path:
        return self.path.with_name(self.path.name + ".owners")

    def _submit(self, work: Callable[[sqlite3.Connection], T], write: bool, durable: bool) -> Future[T]:
        return self._worker.submit(self._execute, work, write, durable)

    def _execute(self, work: Callable[[sqlite3.Connection], T], write: bool, durable: bool) -> T:
        database = self._open()
        with database.explained():
            if not write:
                return work(database.connection)
            with database.transaction(durable=durable) as connection:
                return work(connection)

    def _open(self) -> Database:
        if self._database is not None and self._file != _identity(self.path):
            self._let_go()  # the file was taken away or replaced: nothing must be written to the old one
        if self._database is None:
            database = Database(self.path)
            self._database, self._file = database, _identity(self.path)
            self._bury_the_dead(database)
        return self._database

    def _bury_the_dead(self, database: Database) -> None:
        with database.explained():
            folder = self._owners_folder
            dead = [o for o in claims.owners(database.connection) if not owners.is_alive(folder, o)]
            owners.sweep(folder)
            if dead:
                with database.transaction() as connection:
                    for owner in dead:
                        claims.bury(connection, owner)

    def _let_go(self) -> None:
        self._retire()
        if self._database is not None:
            self._database.close()
            self._database = self._file = None

    def _retire(self) -> None:
        if self._owner is not None:
            self._owner.close()
            self._owner = None

    def _in_forked_child(self) -> None:
        _left_to_parent.append((self._database, self._worker))
        if self._owner is not None:
            self._owner.forget()
        self._begin()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_dev, state.st_ino


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    for store in list(_all):
        store._in_forked_child()


def _at_exit() -> None:
    for store in list(_all):
        store._let_go()  # its thread has ended by now


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
