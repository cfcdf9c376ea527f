"""Connections: used again, closed with their loop, never leaked; proxies, certificates, and what cannot be sent."""

from __future__ import annotations

import asyncio
import datetime
import gc
import ipaddress
import os
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydantic import SecretStr

from webrec.errors import SearchError
from webrec.tools.providers import http_client
from webrec.tools.providers.brave import Brave
from webrec.tools.providers.tavily import Tavily
from webrec.tools.searching.retry import with_retries

from .answers import FINE
from .fault_server import FaultServer
from .faults import KEY, provider_at

PROCESS = psutil.Process()


async def settled_sockets(most: int) -> int:
    """How many sockets are open, once no more than `most` are, or after 10 s."""
    for _ in range(100):
        sockets = len(PROCESS.net_connections())
        if sockets <= most:
            break
        await asyncio.sleep(0.1)
    return sockets


AT_ONCE = 20


@pytest.mark.filterwarnings("error::ResourceWarning")  # closed, not left to the garbage collector
@pytest.mark.parametrize(
    # The two ways there are of asking; the second has threads for the calls of a moment, and one for each core.
    ("name", "threads"),
    [("tavily", 0), ("duckduckgo", AT_ONCE + (os.cpu_count() or 1))],
)
async def test_a_thousand_timeouts_leave_no_thread_and_no_socket(server: FaultServer, name: str, threads: int) -> None:
    provider = provider_at(name, server.url("timeout"))

    async def ask(seconds: float) -> None:  # of many lengths, to be cut off at every stage
        with pytest.raises(SearchError, match="did not answer within"):
            await with_retries(lambda: provider.search("q", 5), attempts=1, total_seconds=9, attempt_seconds=seconds)

    threads += PROCESS.num_threads()
    sockets = len(PROCESS.net_connections())
    for _ in range(1_000 // AT_ONCE):
        await asyncio.gather(*(ask(0.06 * (place + 1) / AT_ONCE) for place in range(AT_ONCE)))
    assert server.asked["timeout", name] > 50, "many got as far as the server"
    assert await settled_sockets(sockets) <= sockets
    assert PROCESS.num_threads() <= threads


@pytest.mark.parametrize("name", ["tavily", "duckduckgo"])
async def test_a_call_cut_off_leaves_the_others_alone(server: FaultServer, name: str) -> None:
    late = asyncio.create_task(provider_at(name, server.url("late")).search("q", 5))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await provider_at(name, server.url("timeout")).search("q", 5)
    assert len(await provider_at(name, server.url("none")).search("q", 5)) == 2
    assert len(await late) == 2


async def test_connections_are_used_again(server: FaultServer) -> None:
    for name in ("tavily", "brave", "searxng", "tavily"):
        await provider_at(name, server.url("none")).search("q", 5)
    assert server.connections == 1


def test_a_loop_that_ends_closes_its_connections(server: FaultServer) -> None:
    before = len(PROCESS.net_connections())

    async def ask() -> None:
        await provider_at("tavily", server.url("none")).search("q", 5)
        assert len(PROCESS.net_connections()) > before

    for _ in range(3):
        asyncio.run(ask())
    assert asyncio.run(settled_sockets(before)) <= before
    assert not [loop for loop in http_client._keepers if loop.is_closed()]
    assert server.connections == 3


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_loop_that_was_left_behind_is_forgotten(server: FaultServer) -> None:
    provider = provider_at("tavily", server.url("none"))
    loop = asyncio.new_event_loop()
    loop.run_until_complete(provider.search("q", 5))
    loop.close()  # without closing its generators
    assert loop in http_client._keepers
    asyncio.run(provider.search("q", 5))
    assert loop not in http_client._keepers
    gc.collect()


class Recorder(HTTPServer):
    """Plays a proxy: keeps what it is asked, and answers or refuses."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Recorder

    def _answer(self) -> None:
        self.server.seen.append(f"{self.requestline}\n{self.headers}")
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        content = FINE["tavily"] if self.command == "POST" else b""
        self.send_response(200 if content else 503)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_CONNECT = _answer

    def log_message(self, *args: Any) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    server = Recorder()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


async def test_the_environments_proxy_is_used(monkeypatch: pytest.MonkeyPatch, recorder: Recorder) -> None:
    monkeypatch.setenv("HTTP_PROXY", recorder.url)
    assert len(await Tavily(SecretStr(KEY), "http://search.invalid").search("q", 5)) == 2
    assert recorder.seen[0].startswith("POST http://search.invalid/search ")


async def test_a_proxy_sees_no_key_that_goes_by_https(monkeypatch: pytest.MonkeyPatch, recorder: Recorder) -> None:
    monkeypatch.setenv("HTTPS_PROXY", recorder.url)
    with pytest.raises(SearchError, match=r"tavily could not be reached \(ProxyError\)") as caught:
        await Tavily(SecretStr(KEY), "https://search.invalid").search("q", 5)
    assert not caught.value.lost
    (seen,) = recorder.seen
    assert seen.startswith("CONNECT search.invalid:443 ")
    assert KEY not in seen


async def test_a_proxy_that_cannot_be_used_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "nonsense://127.0.0.1:9")
    for _ in range(2):
        with pytest.raises(SearchError, match=r"proxy or certificate settings cannot be used .*; correct HTTPS_PROXY"):
            await Tavily(SecretStr(KEY), "http://127.0.0.1:9").search("q", 5)


@pytest.mark.parametrize(
    ("key", "url"), [("clé", None), ("a\nb", None), (KEY, "ftp://127.0.0.1"), (KEY, "http://127.0.0.1:x")]
)
async def test_what_cannot_be_sent_is_not_tried_again(server: FaultServer, key: str, url: str | None) -> None:
    with pytest.raises(SearchError, match=r"^brave was not asked: its address or key") as caught:
        await Brave(SecretStr(key), url or server.url("none")).search("q", 5)
    assert (caught.value.retry, caught.value.lost) == (False, False)
    assert key not in str(caught.value)
    assert server.requests == []


@pytest.fixture
def impostor(tmp_path: Path) -> Iterator[Recorder]:
    """A server with a certificate that nobody vouches for."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = Recorder()
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


async def test_an_impostor_gets_no_key(impostor: Recorder) -> None:
    address = impostor.url.replace("http:", "https:")
    with pytest.raises(SearchError, match="its certificate could not be verified") as caught:
        await Tavily(SecretStr(KEY), address).search("q", 5)
    assert (caught.value.retry, caught.value.lost) == (False, False)
    assert impostor.seen == []
