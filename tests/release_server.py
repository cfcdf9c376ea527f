"""A server on loopback that has one public data set, and the catalogue that names it."""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from webrec.eval.data import catalogue
from webrec.eval.data.catalogue import Release, RemoteFile
from webrec.eval.data.dataset import Dataset


def movielens_zip(data: Dataset) -> bytes:
    """`data` as MovieLens would publish it."""
    movies = "".join(f'{i.item_id},"{i.title}",Drama\n' for i in data.items.values())
    ratings = "".join(f"{user},{t.item_id},4.0,{t.time}\n" for user, rows in data.users.items() for t in rows)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ml/movies.csv", f"movieId,title,genres\n{movies}")
        archive.writestr("ml/ratings.csv", f"userId,movieId,rating,timestamp\n{ratings}")
    return packed.getvalue()


@contextmanager
def published(name: str, data: Dataset, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """While it lasts, `webrec data get NAME` finds `data` on this machine."""
    body = movielens_zip(data)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        file = RemoteFile(f"http://127.0.0.1:{server.server_address[1]}/{name}.zip")
        monkeypatch.setattr(catalogue, "CATALOGUE", {name: Release(name, "films", (file,), "free", "nobody")})
        yield
        server.shutdown()
