"""An OpenAI-compatible server on loopback whose model is a backbone of ours: what an external decoder would be."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from webrec.models.backbone import Backbone
from webrec.models.decoding import Decoded, decode_greedily

Answer = Callable[[dict[str, Any]], tuple[int, Any]]
"""From a request's body to status and JSON value (or bytes)."""


class DecoderServer(ThreadingHTTPServer):
    """`answer` may be replaced; `requests` are the (path, headers, body) of all that came."""

    daemon_threads = True

    def __init__(self, answer: Answer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.under_way = self.most_under_way = 0
        self.seconds = 0.0
        self.arrived, self.closing = threading.Event(), threading.Event()
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: DecoderServer

    def do_POST(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            server.under_way += 1
            server.most_under_way = max(server.most_under_way, server.under_way)
        server.arrived.set()
        if server.closing.wait(server.seconds):
            return
        status, value = server.answer(body)
        with server.lock:
            server.under_way -= 1
        sent = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def written_by(backbone: Backbone, *, tells_ids: bool = True) -> Answer:
    """Answers with what our own decoder writes, in the shape of vLLM (`tells_ids`) or of llama.cpp."""

    def answer(body: dict[str, Any]) -> tuple[int, Any]:
        chat = "messages" in body
        prompt = backbone.chat.encode_turn(body["messages"][0]["content"]) if chat else body["prompt"]
        decoded = decode_greedily(backbone, prompt, body["max_tokens"])
        return 200, completion(backbone, decoded, len(prompt), chat=chat, tells_ids=tells_ids)

    return answer


def completion(backbone: Backbone, decoded: Decoded, prompt: int, *, chat: bool, tells_ids: bool) -> dict[str, Any]:
    """What such a server says when it has written `decoded`."""
    text = backbone.chat.decode(decoded.ids)
    choice: dict[str, Any] = {"index": 0, "finish_reason": "length" if decoded.stop == "limit" else "stop"}
    if chat:
        choice["message"] = {"role": "assistant", "content": text}
    else:
        choice["text"] = text
        if tells_ids:
            choice["token_ids"] = decoded.ids
    return {"choices": [choice], "usage": {"prompt_tokens": prompt, "completion_tokens": len(decoded.ids)}}


@contextmanager
def decoder_server(answer: Answer) -> Iterator[DecoderServer]:
    """The server, while the context lasts."""
    server = DecoderServer(answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.closing.set()
    server.shutdown()
    server.server_close()
