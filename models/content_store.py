"""Results kept by content: bytes under the digest of all that determines them, in one SQLite file of the cache folder.

A key is never written twice with different values, so nothing can be out of date; what was not used for longest goes first.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from webrec.cache_folder import cache_root
from webrec.errors import ConfigurationError

FILE = "computed.sqlite3"
MOST_BYTES = 500_000_000
"""Of the file."""
BUSY_SECONDS = 30.0
_APPLICATION_ID = 0x57524370
_USED_AGAIN = 3600.0
"""Seconds. That an entry was used is written down this often, so that most reading writes nothing."""
_AT_ONCE = 500

_stores: dict[tuple[int, Path], ContentStore] = {}
_lock = threading.Lock()


def open_content_store() -> ContentStore:
    """The store of the cache folder, one per process."""
    place = (os.getpid(), (cache_root() / FILE).absolute())  # a connection must not be used in a forked process
    with _lock:
        if place not in _stores:
            _stores[place] = ContentStore(place[1])
        return _stores[place]


def content_key(*parts: str | bytes) -> bytes:
    """Digest of `parts`; where one ends and the next begins counts."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.digest()


class ContentStore:
    """For many threads and processes. A process that is killed while it writes leaves what was there before.

    Every method raises `ConfigurationError` if the file cannot be used.
    """

    def __init__(self, path: Path, most_bytes: int = MOST_BYTES) -> None:
        self.path, self._most_bytes = path, most_bytes
        self._own = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """What is kept of `keys`."""
        found: dict[bytes, bytes] = {}
        old: list[bytes] = []
        now = time.time()
        with self._opened() as connection:
            for begin in range(0, len(keys), _AT_ONCE):
                some = keys[begin : begin + _AT_ONCE]
                query = f"SELECT key, value, used FROM kept WHERE key IN ({','.join('?' * len(some))})"  # noqa: S608
                for key, value, used in connection.execute(query, some):
                    found[key] = value
                    if used < now - _USED_AGAIN:
                        old.append(key)
            if old:
                with connection:
                    connection.executemany("UPDATE kept SET used = ? WHERE key = ?", [(now, key) for key in old])
        return found

    def put(self, values: Mapping[bytes, bytes]) -> None:
        """Keep `values`, all or none; makes room if the file has become too large."""
        now = time.time()
        with self._opened() as connection, connection:
            rows = [(key, value, now) for key, value in values.items()]
            connection.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?, ?)", rows)
            self._make_room(connection)

    def close(self) -> None:
        """Let go of the file; using the store again opens it again."""
        with self._own:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _make_room(self, connection: sqlite3.Connection) -> None:
        """Pages of what is deleted are used again, so the file itself does not grow beyond its limit."""
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        while True:
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            (free,) = connection.execute("PRAGMA freelist_count").fetchone()
            if (pages - free) * size <= self._most_bytes:
                return
            (entries,) = connection.execute("SELECT count(*) FROM kept").fetchone()
            if not entries:
                return
            oldest = "SELECT key FROM kept ORDER BY used LIMIT ?"
            connection.execute(f"DELETE FROM kept WHERE key IN ({oldest})", (max(1, entries // 10),))  # noqa: S608

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        with self._own:
            try:
                if self._connection is None:
                    self._connection = _connect(self.path)
                yield self._connection
            except (sqlite3.Error, OSError) as error:
                raise ConfigurationError(
                    f"reuse_computed: {str(self.path)!r} cannot be used ({error}); delete the file, free its disk, or turn "
                    "reuse_computed off"
                ) from error


def _connect(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # reasoning tells what a user bought: for this user only
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False)
    try:
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            if application != _APPLICATION_ID:
                if application or connection.execute("SELECT 1 FROM sqlite_master").fetchone():
                    raise sqlite3.DatabaseError("it holds something else")
                connection.execute("CREATE TABLE kept (key BLOB PRIMARY KEY, value BLOB NOT NULL, used REAL NOT NULL)")
                connection.execute("CREATE INDEX by_use ON kept (used)")
                connection.execute(f"PRAGMA application_id={_APPLICATION_ID}")
    except BaseException:
        connection.close()
        raise
    return connection
