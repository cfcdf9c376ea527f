"""As much of the Hugging Face hub's interface as pushing and pulling a small adapter takes, on the loopback."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

SHA = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """One repository with one commit; `files` is set by `fake_hub`."""

    files: dict[str, bytes]
    asked: list[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        host, path = f"http://{self.headers['Host']}", urlsplit(self.path).path
        self.asked.append(f"POST {path}")
        if path == "/api/repos/create":
            name = json.loads(body)["name"]
            self.answer({"url": f"{host}/reader/{name}", "id": f"reader/{name}"})
        elif "/preupload/" in path:
            names = [{"path": file["path"]} for file in json.loads(body)["files"]]
            self.answer({"files": [name | {"uploadMode": "regular", "shouldIgnore": False} for name in names]})
        elif "/commit/" in path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self.answer({"commitUrl": f"{host}/reader/adapter/commit/{SHA}", "commitOid": SHA})
        else:
            self.send_error(404)

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        self.asked.append(f"{self.command} {path}")
        sizes = [{"type": "file", "path": n, "size": len(b), "oid": oid(b)} for n, b in sorted(self.files.items())]
        if not path.removeprefix("/api/models").startswith("/reader/adapter/"):
            self.send_error(404)
        elif "/tree/" in path:
            self.answer(sizes)
        elif "/resolve/" in path:
            body = self.files[path.split(f"/resolve/{SHA}/")[1]]
            self.answer_bytes(body, {"ETag": f'"{oid(body)}"', "X-Repo-Commit": SHA})
        else:
            names = [{"rfilename": size["path"]} for size in sizes]
            self.answer({"id": "reader/adapter", "sha": SHA, "siblings": names})

    do_HEAD = do_GET

    def answer(self, content: object) -> None:
        self.answer_bytes(json.dumps(content).encode(), {"Content-Type": "application/json"})

    def answer_bytes(self, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(200)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def oid(body: bytes) -> str:
    return hashlib.sha1(body, usedforsecurity=False).hexdigest()


@contextmanager
def fake_hub() -> Iterator[tuple[str, type[Hub]]]:
    """Its address, and the class that holds its files and the requests so far."""
    hub = type("OneHub", (Hub,), {"files": {}, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), hub)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", hub
    finally:
        server.shutdown()
        server.server_close()
