"""The SQLite file behind a search store: opening it, its tables, transactions, and errors in one sentence."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from webrec.errors import ConfigurationError, SearchError

APPLICATION_ID = 0x57526563
"""Marks the file as ours."""
SCHEMA_VERSION = 1
BUSY_SECONDS = 30.0
"""Longest wait for another process's transaction; each takes milliseconds."""
WRITES_PER_CHECKPOINT = 500

_TABLES = """
CREATE TABLE records (
  kind TEXT NOT NULL, key TEXT NOT NULL, content TEXT NOT NULL, recorded TEXT NOT NULL, provider TEXT NOT NULL,
  attempts INTEGER NOT NULL, cost_units REAL NOT NULL, possibly_billed INTEGER NOT NULL, PRIMARY KEY (kind, key));
CREATE TABLE claims (
  key TEXT PRIMARY KEY, token TEXT NOT NULL, owner TEXT NOT NULL, failure TEXT, time REAL NOT NULL);
CREATE TABLE calls (
  id TEXT PRIMARY KEY, provider TEXT NOT NULL, key TEXT NOT NULL, owner TEXT NOT NULL, state TEXT NOT NULL,
  time TEXT NOT NULL, cost_units REAL NOT NULL, price REAL NOT NULL);
CREATE INDEX calls_started ON calls (owner) WHERE state = 'started';
CREATE TABLE usage (
  provider TEXT NOT NULL, day TEXT NOT NULL, calls INTEGER NOT NULL, answered INTEGER NOT NULL, failed INTEGER NOT NULL,
  lost INTEGER NOT NULL, cost_units REAL NOT NULL, spend REAL NOT NULL, PRIMARY KEY (provider, day));
CREATE TABLE slots (provider TEXT PRIMARY KEY, next REAL NOT NULL, booked REAL NOT NULL);
"""


class Database:
    """One connection, for one thread. WAL mode: readers never wait, and a killed writer leaves the last whole commit."""

    def __init__(self, path: Path) -> None:
        """Open or create. Raises `ConfigurationError` if it cannot be opened or is no store of this version."""
        self.path = path
        self._writes = 0
        with self.explained(opening=True):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                os.close(
                    os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
                )  # queries tell what a user bought: for this user only
            except OSError as error:
                raise ConfigurationError(
                    f"search_store: {str(path)!r} cannot be opened ({error.strerror}); name a file that can be written"
                ) from None
            self.connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            try:
                self._prepare()
            except BaseException:
                self.connection.close()
                raise

    def _prepare(self) -> None:
        self.connection.execute("BEGIN")
        try:
            ready = self._is_ready()
        finally:
            self.connection.execute("ROLLBACK")
        if not ready:
            self._make_tables()
        self._switch_to_wal()
        # SQLite before 3.51.3 can in rare cases damage a file when one connection checkpoints while another starts the
        # log anew. Here checkpoints are only made in the mode that holds the write lock, so that this cannot happen.
        self.connection.execute("PRAGMA wal_autocheckpoint=0")

    def _make_tables(self) -> None:
        self.connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        with self.transaction():
            if self._is_ready():  # another process was faster
                return
            for statement in _TABLES.split(";"):
                self.connection.execute(statement)
            self.connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            self.connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")

    def _is_ready(self) -> bool:
        """Whether the tables are there; False for an empty file. Inside a transaction, as another process may be making them."""
        (application,) = self.connection.execute("PRAGMA application_id").fetchone()
        (version,) = self.connection.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION_ID:
            if application or version or self.connection.execute("SELECT 1 FROM sqlite_master").fetchone():
                raise _no_store(self.path)
            return False
        if version != SCHEMA_VERSION:
            raise ConfigurationError(
                f"search_store: {str(self.path)!r} has format {version} and this WebRec reads {SCHEMA_VERSION}; "
                "name another file, or export it with the WebRec that wrote it"
            )
        return True

    def _switch_to_wal(self) -> None:
        """SQLite does not wait by itself when several processes switch a new file at once."""
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                mode = self.connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
            except sqlite3.OperationalError as error:
                if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
                continue
            if mode != "wal":
                raise ConfigurationError(
                    f"search_store: the file system of {str(self.path)!r} cannot share it; name a file on a local disk"
                )
            return

    @contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """A write transaction: all or nothing, one at a time over all processes.

        Once committed it outlives the process; a `durable` one also a power cut, and so does all that came before it.
        """
        connection = self.connection
        connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self._writes += 1
        if self._writes % WRITES_PER_CHECKPOINT == 0:
            # Whoever reads for long, an export, would hold up this and with it every writer: better to try again later.
            connection.execute("PRAGMA busy_timeout=50")
            try:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                connection.execute(f"PRAGMA busy_timeout={int(BUSY_SECONDS * 1000)}")

    @contextmanager
    def explained(self, *, opening: bool = False) -> Iterator[None]:
        """Turn SQLite's errors into ours: `ConfigurationError` for a file that is no store, else `SearchError`."""
        try:
            yield
        except sqlite3.Error as error:
            code = _code(error)
            if code in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
                raise _no_store(self.path) from error
            what = _REASONS.get(code, f"{type(error).__name__}, SQLite code {code}")
            kind: type[ConfigurationError | SearchError] = ConfigurationError if opening else SearchError
            if code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}:
                kind = ConfigurationError
            raise kind(
                f"search_store: {str(self.path)!r} cannot be used ({what}); name a file that can be written"
            ) from error

    def close(self) -> None:
        """Close the connection; the last one of all processes also folds the log into the file."""
        self.connection.close()


_REASONS = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk failed or is full",
    sqlite3.SQLITE_BUSY: f"another process holds it for more than {BUSY_SECONDS:.0f} seconds",
    sqlite3.SQLITE_LOCKED: "another process holds it",
    sqlite3.SQLITE_READONLY: "it is read-only",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
    sqlite3.SQLITE_PERM: "access is denied",
}


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary error code; -1 for errors that Python's module raises itself."""
    code: int = getattr(error, "sqlite_errorcode", -1)
    return code & 0xFF if code >= 0 else -1


def _no_store(path: Path) -> ConfigurationError:
    return ConfigurationError(
        f"search_store: {str(path)!r} is not a search store or is damaged; move it away or name another file"
    )
