"""Downloads from a real server that fails in every way it can."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from webrec.errors import ConfigurationError
from webrec.eval.data import download
from webrec.eval.data.catalogue import CATALOGUE, Release, RemoteFile, find_release
from webrec.eval.data.download import MANIFEST, DownloadError, download_release, read_manifest

BODY = bytes(range(256)) * 40_000  # ten megabytes


class Server(ThreadingHTTPServer):
    """Serves `body` under `tag`; `plan` holds what to do with the next requests: cut:N, 503, 404, ignore, close."""

    daemon_threads = True

    def __init__(self) -> None:
        self.body, self.tag, self.plan = BODY, '"one"', list[str]()
        self.asked: list[tuple[str | None, str | None]] = []
        self.delay = 0.0
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/file.json.gz"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted, tag = self.headers["Range"], self.headers["If-Range"]
        self.server.asked.append((wanted, tag))
        do = self.server.plan.pop(0) if self.server.plan else ""
        if do.isdecimal():
            self.send_error(int(do))
            return
        begin = 0
        if wanted and tag == self.server.tag and do != "ignore":
            begin = int(wanted.removeprefix("bytes=").rstrip("-"))
            if begin >= len(self.server.body):
                self.send_error(416)
                return
        body = self.server.body[begin:]
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(body)))
        if self.server.tag:
            self.send_header("ETag", self.server.tag)
        self.end_headers()
        most = int(do.partition(":")[2]) if do.startswith("cut") else len(body)
        for at in range(0, most, 100_000):
            self.wfile.write(body[at : min(at + 100_000, most)])
            if self.server.delay:
                time.sleep(self.server.delay)
        if most < len(body):
            self.connection.close()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


def release(server: Server, md5: str | None = None) -> Release:
    return Release("films", "films", (RemoteFile(server.address, md5),), "free", "nobody")


def fetch(server: Server, folder: Path, md5: str | None = None, **settings: Any) -> Path:
    (path,) = download_release(release(server, md5), folder, pause=lambda _: None, **settings)
    return path


def test_whole(server: Server, tmp_path: Path) -> None:
    heard: list[tuple[str, int, int | None]] = []
    path = fetch(server, tmp_path / "new", hashlib.md5(BODY).hexdigest(), on_progress=lambda *told: heard.append(told))
    assert path.read_bytes() == BODY
    assert heard[-1] == ("file.json.gz", len(BODY), len(BODY))
    assert [have for _, have, _ in heard] == sorted(have for _, have, _ in heard)
    told = read_manifest(path.parent)["file.json.gz"]
    assert (told["sha256"], told["bytes"]) == (hashlib.sha256(BODY).hexdigest(), len(BODY))
    assert (told["address"], told["terms"]) == (server.address, "free")
    assert sorted(p.name for p in path.parent.iterdir() if not p.name.startswith(".")) == [MANIFEST, "file.json.gz"]
    fetch(server, path.parent)
    assert len(server.asked) == 1  # it is there


def test_it_goes_on_where_it_was_cut_off(server: Server, tmp_path: Path) -> None:
    server.plan = ["cut:3000000", "503", "cut:2000000"]
    assert fetch(server, tmp_path).read_bytes() == BODY
    ranges = [wanted for wanted, _ in server.asked]
    assert ranges[0] is None
    begun = [int(r.removeprefix("bytes=").rstrip("-")) for r in ranges[1:] if r]
    assert begun == sorted(begun)
    assert 0 < begun[0] <= 3_000_000 < begun[-1] <= 5_000_000


def test_a_file_that_changed_is_fetched_from_its_beginning(server: Server, tmp_path: Path) -> None:
    server.plan = ["cut:3000000"]
    with pytest.raises(DownloadError, match=r"the connection broke 1 times .*; call again to go on from there"):
        fetch(server, tmp_path, attempts=1)
    server.body, server.tag = BODY[::-1], '"two"'
    assert fetch(server, tmp_path).read_bytes() == BODY[::-1]


@pytest.mark.parametrize("tag", ["", '"one"'])
def test_a_server_that_ignores_ranges(server: Server, tmp_path: Path, tag: str) -> None:
    server.tag = tag
    server.plan = ["cut:3000000", "ignore"]
    assert fetch(server, tmp_path).read_bytes() == BODY


def test_a_wrong_checksum_keeps_nothing(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="its checksum is not the one that its makers publish, so it was not kept"):
        fetch(server, tmp_path, "0" * 32)
    assert not list(tmp_path.glob("file*"))


def test_another_file_than_the_first_time(server: Server, tmp_path: Path) -> None:
    fetch(server, tmp_path).unlink()
    server.body = BODY[:1000]
    with pytest.raises(DownloadError, match=r"its checksum is another one than when it was fetched before \(20"):
        fetch(server, tmp_path)


def test_a_file_that_is_not_there(server: Server, tmp_path: Path) -> None:
    server.plan = ["404"]
    with pytest.raises(DownloadError, match=r"file.json.gz: 127.0.0.1 answers HTTP 404; try later, or get it by hand"):
        fetch(server, tmp_path)
    assert len(server.asked) == 1


def test_a_full_disk(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: usage._replace(free=10**6))
    with pytest.raises(ConfigurationError, match=r"--to: .* has 0.0 GB free and file.json.gz needs 0.0 GB"):
        fetch(server, tmp_path)
    monkeypatch.undo()
    opened = Path.open

    def full(self: Path, mode: str = "r", *others: Any, **named: Any) -> Any:
        if self.suffix == ".part" and "b" in mode and mode != "rb":
            raise OSError(errno.ENOSPC, "No space left on device")
        return opened(self, mode, *others, **named)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(
        ConfigurationError, match=r"the disk of .* is full; free some space, then call the same command"
    ):
        fetch(server, tmp_path)


def test_killed_in_the_middle(server: Server, tmp_path: Path) -> None:
    """SIGKILL while it writes: what is there is part of the file, and the next call gets the rest."""
    server.delay = 0.05
    code = (
        "import sys; from pathlib import Path; from webrec.eval.data.catalogue import Release, RemoteFile\n"
        "from webrec.eval.data.download import download_release\n"
        "download_release(Release('f', 'f', (RemoteFile(sys.argv[1]),), '', ''), Path(sys.argv[2]))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, server.address, str(tmp_path)])
    part = tmp_path / "file.json.gz.part"
    end = time.monotonic() + 60
    while time.monotonic() < end and not (part.exists() and part.stat().st_size > 2_000_000):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "file.json.gz").exists()
    have = part.read_bytes()
    assert 0 < len(have) < len(BODY)
    assert have == BODY[: len(have)]
    server.delay = 0
    assert fetch(server, tmp_path).read_bytes() == BODY
    assert server.asked[-1][0] == f"bytes={len(have)}-"


def test_two_at_once(server: Server, tmp_path: Path) -> None:
    server.delay = 0.02
    first = threading.Thread(target=fetch, args=(server, tmp_path))
    first.start()
    while not server.asked:
        time.sleep(0.01)
    with pytest.raises(ConfigurationError, match="another process is downloading"):
        fetch(server, tmp_path)
    first.join()
    assert (tmp_path / "file.json.gz").stat().st_size == len(BODY)


def test_a_damaged_manifest_is_written_anew(server: Server, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text("[", encoding="utf-8")
    fetch(server, tmp_path)
    assert list(json.loads((tmp_path / MANIFEST).read_text())) == ["file.json.gz"]


def test_the_catalogue() -> None:
    assert len(CATALOGUE) == 18
    for release_ in CATALOGUE.values():
        assert release_.terms
        assert release_.cite
        assert all(f.address.startswith("https://") and os.path.basename(f.name) == f.name for f in release_.files)  # noqa: PTH119
    with pytest.raises(ConfigurationError, match="NAME: 'nothing' is unknown; webrec data list shows the names"):
        find_release("nothing")
