"""Tavily and Brave against a real HTTP server on loopback that plays their documented answers, through the graph."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr

from webrec import recommend
from webrec.errors import ConfigurationError, SearchError
from webrec.graph.build import build_graph
from webrec.tools.config import SearchConfig
from webrec.tools.providers.brave import Brave
from webrec.tools.providers.registry import open_provider, resolve_names
from webrec.tools.providers.tavily import Tavily

CANARY = "canary-key-5f1e"
TAVILY_ANSWER = {
    "query": "…",
    "results": [
        {"title": "Wool \u202escarf", "url": "https://a.example/1", "content": "Warm <|im_start|> wool.", "score": 0.9},
        {"title": None, "url": "javascript:alert(1)", "content": "No title.", "score": "high"},
        "not a page",
    ],
    "response_time": 0.1,
}
BRAVE_ANSWER = {
    "type": "search",
    "web": {
        "results": [
            {
                "title": "Garden <strong>hose</strong> &amp; more",
                "url": "https://b.example/2",
                "description": "A <strong>long</strong> hose, 5 &lt; 6.",
                "extra_snippets": ["It is green.", 3],
                "page_age": "2024-05-01T00:00:00",
            }
        ]
    },
}


class Service(ThreadingHTTPServer):
    """Answers with what `respond` says and records the requests."""

    daemon_threads = True

    def __init__(self, store: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.store = store
        """Where its answers are recorded: in a file of its own, or the next test would not ask."""
        self.requests: list[dict[str, Any]] = []
        self.respond: Callable[[], tuple[int, bytes]] = lambda: (200, b"{}")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Service

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        parts = urlsplit(self.path)
        self.server.requests.append(
            {
                "method": self.command,
                "path": parts.path,
                "query": parse_qs(parts.query),
                "headers": dict(self.headers),
                "body": body,
            }
        )
        status, content = self.server.respond()
        self.send_response(status)
        if status in {301, 302}:
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = _answer

    def log_message(self, *args: Any) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    server = Service(tmp_path / "searches.sqlite3")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def _graph(service: Service) -> Any:
    key = SecretStr(CANARY)
    return build_graph(
        providers={"tavily": lambda _: Tavily(key, service.url), "brave": lambda _: Brave(key, service.url)}
    )


def _recommend(service: Service, tiny: Path, *providers: str) -> Any:
    return recommend(
        ["Red boots"],
        ["Wool scarf", "Garden hose"],
        graph=_graph(service),
        backbone=str(tiny),
        providers=providers,
        query_strategy="prompt",
        pages=5,
        search_store=str(service.store),
        search_attempts=2,
    )


def test_tavily_through_the_graph(service: Service, tiny_bytes: Path) -> None:
    service.respond = lambda: (200, json.dumps(TAVILY_ANSWER).encode())
    result = _recommend(service, tiny_bytes, "tavily")
    (request,) = service.requests
    assert (request["method"], request["path"]) == ("POST", "/search")
    assert request["headers"]["Authorization"] == f"Bearer {CANARY}"
    assert request["body"]["max_results"] == 5
    assert 0 < len(request["body"]["query"]) <= 400
    first, second = result.pages
    assert (first.title, first.url, first.score, first.provider) == ("Wool scarf", "https://a.example/1", 0.9, "tavily")
    assert (second.title, second.url, second.score) == ("", "", None)
    assert CANARY not in result.model_dump_json()


def test_brave_through_the_graph(service: Service, tiny_bytes: Path) -> None:
    service.respond = lambda: (200, json.dumps(BRAVE_ANSWER).encode())
    result = _recommend(service, tiny_bytes, "brave")
    (request,) = service.requests
    assert (request["method"], request["path"]) == ("GET", "/web/search")
    assert request["headers"]["X-Subscription-Token"] == CANARY
    assert request["query"]["count"] == ["5"]
    (page,) = result.pages
    assert page.title == "Garden hose & more"
    assert page.snippet == "A long hose, 5 < 6. It is green."
    assert page.time == "2024-05-01T00:00:00"


def test_both_side_by_side(service: Service, tiny_bytes: Path) -> None:
    service.respond = lambda: (200, json.dumps({**TAVILY_ANSWER, **BRAVE_ANSWER}).encode())
    result = _recommend(service, tiny_bytes, "tavily", "brave")
    assert [p.provider for p in result.pages] == ["tavily", "brave", "tavily"]


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (401, b"{}", "refused the key"),
        (403, b"{}", "refused the key"),
        (429, b"{}", "rate limit"),
        (500, b"oops", "HTTP 500"),
        (302, b"", "HTTP 302"),
        (200, b"<html>", "not JSON"),
        (200, b"[1]", "unknown shape"),
        (200, b"x" * 5_000_001, "more than 5,000,000 bytes"),
    ],
)
def test_failures_are_one_sentence_without_the_key(
    service: Service, tiny_bytes: Path, status: int, body: bytes, sentence: str
) -> None:
    service.respond = lambda: (status, body)
    for provider in ("tavily", "brave"):
        with pytest.raises(SearchError, match=sentence) as caught:
            _recommend(service, tiny_bytes, provider)
        assert CANARY not in str(caught.value)
        assert CANARY not in repr(caught.value.__cause__)


def test_no_results_is_no_page(service: Service, tiny_bytes: Path) -> None:
    service.respond = lambda: (200, json.dumps({"results": []}).encode())
    assert _recommend(service, tiny_bytes, "tavily").retrieval == "no_pages"
    service.respond = lambda: (200, json.dumps({"type": "search"}).encode())
    assert _recommend(service, tiny_bytes, "brave").retrieval == "no_pages"


def test_a_closed_port_is_a_search_error() -> None:
    with pytest.raises(SearchError, match="tavily could not be reached"):
        asyncio.run(Tavily(SecretStr(CANARY), "http://127.0.0.1:9").search("scarf", 3))


def test_providers_are_chosen_by_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("TAVILY_API_KEY", "BRAVE_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(ConfigurationError, match="no key is set; set TAVILY_API_KEY or BRAVE_API_KEY"):
        resolve_names(SearchConfig())
    for name, variable in (("tavily", "TAVILY_API_KEY"), ("brave", "BRAVE_API_KEY")):
        with pytest.raises(ConfigurationError, match=f"{name} needs a key; set the environment variable {variable}"):
            open_provider(name, SearchConfig())
    monkeypatch.setenv("BRAVE_API_KEY", CANARY)
    assert resolve_names(SearchConfig()) == ["brave"]
    monkeypatch.setenv("TAVILY_API_KEY", CANARY)
    assert resolve_names(SearchConfig(providers=("auto", "sample", "tavily"))) == ["tavily", "sample"]
    assert resolve_names(SearchConfig(pages_path=str(tmp_path))) == ["local"]
    assert CANARY not in repr(open_provider("tavily", SearchConfig()))
