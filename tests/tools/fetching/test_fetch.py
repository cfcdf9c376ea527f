"""Fetching over real HTTP on loopback: what is read, what is refused, and that nothing hangs."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from webrec.tools.fetching.fetch import PLAIN_BYTES

from ...web_site import (  # noqa: TID252
    ARTICLE,
    PARAGRAPHS,
    PUBLIC,
    Handler,
    Route,
    Site,
    bomb,
    cut_off,
    drip,
    fetch_all,
    fetched,
    fetching,
    huge,
    not_http,
    plain,
    redirect,
)

ODD_CHARSETS = [
    "nonsense",
    "idna",
    "punycode",
    "undefined",
    "unicode_escape",
    "Raw-Unicode-Escape",
    "UTF-7",
    "hex",
    "rot13",
]


async def test_main_text_title_and_date() -> None:
    async with fetching({"/page": ARTICLE}) as (site, fetcher):
        page = await fetcher.fetch("http://site.example/page#part")
        assert set(site.connected) == {(PUBLIC, 80)}
        assert [path for _, path, _ in site.log] == ["/robots.txt", "/page"]
        assert site.log[1][0] == "site.example"
    assert page.status == "fetched"
    assert all(p in page.text for p in PARAGRAPHS)
    assert "Login" not in page.text
    assert "alert" not in page.text
    assert (page.title, page.time, page.reason) == ("A mild soap", "2013-05-06", "")
    assert page.final_url == "http://site.example/page"
    assert page.bytes == len(ARTICLE)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("Grüße aus Köln. " * 20, "text/plain; charset=utf-8"),
        ("Grüße aus Köln. " * 20, 'text/plain; charset="ISO-8859-1"'),
        ("Grüße aus Köln. " * 20, "text/html; charset=latin-1"),
        ("Grüße aus Köln. " * 20, "text/html"),
        ("Grüße aus Köln. " * 20, "text/html; charset=nonsense"),
        ("Grüße aus Köln. " * 20, "application/xhtml+xml"),
        *(("Grüße aus Köln. " * 20, f"text/plain; charset={name}") for name in ODD_CHARSETS),
    ],
)
async def test_charsets_and_types(body: str, kind: str) -> None:
    charset = "latin-1" if "8859" in kind or "latin" in kind else "utf-8"
    text = body if "plain" in kind else f"<html><body><article><p>{body}</p></article></body></html>"
    page = await fetched({"/page": lambda h: h.answer(text.encode(charset), kind=kind)})
    assert page.status == "fetched"
    assert "Grüße aus Köln." in page.text


async def test_text_is_cleaned() -> None:
    hidden = ARTICLE.replace("mild", "mi\u200bld\u202e").replace("soap", "soap" + "\u0301" * 30)
    page = await fetched({"/page": lambda h: h.answer(hidden)})
    assert "mild" in page.text
    assert "\u202e" not in page.text
    assert "\u0301" * 3 in page.text
    assert "\u0301" * 5 not in page.text + page.title
    page = await fetched({"/page": lambda h: h.answer("a\x1b[31mb\x00c\n" * 30_000, kind="text/plain")})
    assert page.text.startswith("abc abc")
    assert len(page.text) <= 20_000


async def test_of_a_long_page_without_markup_the_beginning_is_read() -> None:
    """Cleaning all of it would hold up everything else in the process."""
    page = await fetched({"/page": lambda h: h.answer(" " * PLAIN_BYTES + "late", kind="text/plain")})
    assert (page.status, page.bytes) == ("empty", PLAIN_BYTES + 4)


FAULTS: list[tuple[str, Route, str, str]] = [
    ("404", lambda h: h.answer("no", status=404), "failed", "HTTP 404"),
    ("500", lambda h: h.answer("no", status=500), "failed", "HTTP 500"),
    ("401", lambda h: h.answer("no", status=401), "failed", "HTTP 401"),
    ("204", lambda h: h.answer("", status=204), "failed", "HTTP 204"),
    ("50 MB", huge, "too_large", "fetch_bytes"),
    ("gzip bomb", bomb, "too_large", "fetch_bytes"),
    ("slow drip", drip, "failed", "no answer within"),
    ("silence", lambda _: time.sleep(2.5), "failed", "no answer within"),
    ("cut off", cut_off, "failed", "malformed"),
    ("picture", lambda h: h.answer(b"\x89PNG", kind="image/png"), "not_text", "image/png"),
    ("no type", lambda h: h.answer(ARTICLE, kind=""), "not_text", "without a type"),
    ("PDF", lambda h: h.answer(b"%PDF", kind="application/pdf"), "not_text", "application/pdf"),
    ("JSON", lambda h: h.answer("{}", kind="application/json"), "not_text", "application/json"),
    ("no gzip", lambda h: h.answer("plain", Content_Encoding="gzip"), "failed", "malformed"),
    ("brotli unasked", lambda h: h.answer("plain", Content_Encoding="br"), "failed", "malformed"),
    ("empty page", "<html><body></body></html>", "empty", "no main text"),
    ("empty body", "", "empty", "no main text"),
    ("no HTML", lambda h: h.answer(bytes(range(256)) * 40), "*", ""),
    ("no HTTP", not_http, "failed", "malformed"),
    ("huge header", lambda h: h.answer("x", X_Long="x" * 5_000_000), "failed", "malformed"),
    ("redirect loop", redirect("/page"), "failed", "redirects"),
    ("redirect without address", lambda h: h.answer("", status=302), "failed", "redirects"),
    ("redirect to malformed", redirect("http://[oops"), "refused", "malformed"),
    ("redirect to loopback", redirect("http://127.0.0.1/secret"), "refused", "not public"),
    ("redirect to loopback, protocol-relative", redirect("//127.0.0.1/secret"), "refused", "not public"),
    ("redirect to metadata", redirect("http://169.254.169.254/latest/meta-data/", 307), "refused", "not public"),
    ("redirect to file", redirect("file:///etc/passwd"), "refused", "file addresses"),
    ("redirect to decimal", redirect("http://2130706433/", 301), "refused", "disguise"),
    ("redirect to credentials", redirect("http://me:pw@other.example/", 308), "refused", "credentials"),
    ("redirect to another port", redirect("http://other.example:6379/", 303), "refused", "port 6379"),
    ("redirect to a private name", redirect("http://rebound.example/"), "refused", "not public"),
]


@pytest.mark.parametrize(("route", "status", "reason"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS])
async def test_faults(route: Route, status: str, reason: str) -> None:
    seconds = 6 if status == "too_large" else 1.5  # the limit of bytes is to be met first, on slow machines as well
    async with fetching({"/page": route, "/ok": plain}, seconds=seconds) as (site, fetcher):
        site.addresses["rebound.example"] = [["10.0.0.1"]]
        began = time.monotonic()
        page = await fetcher.fetch("http://site.example/page")
        took = time.monotonic() - began
        assert status in {page.status, "*"}
        assert reason in page.reason
        assert (page.text == "") == (page.status != "fetched")
        assert took < 8
        assert {address for address, _ in site.connected} == {PUBLIC}  # nobody else was asked for anything
        assert "secret" not in str(site.paths())
        assert (await fetcher.fetch("http://site.example/ok")).status == "fetched"  # and the next page is read


async def test_redirects_are_followed_and_checked_one_by_one() -> None:
    routes: dict[str, Route] = {
        "/page": redirect("//other.example/second", 301),
        "/second": redirect("third?x=1", 308),
        "/third?x=1": ARTICLE,
    }
    async with fetching(routes) as (site, fetcher):
        page = await fetcher.fetch("http://site.example/page")
        assert list(dict.fromkeys(site.resolved)) == ["site.example", "other.example"]
        assert [(host, path) for host, path, _ in site.log] == [
            ("site.example", "/robots.txt"),
            ("site.example", "/page"),
            ("other.example", "/robots.txt"),
            ("other.example", "/second"),
            ("other.example", "/third?x=1"),
        ]
    assert page.status == "fetched"
    assert (page.url, page.final_url) == ("http://site.example/page", "http://other.example/third?x=1")


async def test_a_rebinding_name_reaches_nothing_private() -> None:
    """Public when asked first, private ever after: each new connection is checked by itself."""
    async with fetching({"/page": lambda h: h.answer(ARTICLE, Connection="close")}) as (site, fetcher):
        site.addresses["site.example"] = [[PUBLIC], [PUBLIC], ["127.0.0.1"]]

        def closing(handler: Handler) -> None:
            handler.close_connection = True
            handler.answer(ARTICLE, Connection="close")

        site.server.routes["/page"] = closing  # type: ignore[attr-defined]
        first = await fetcher.fetch("http://site.example/page")
        for _ in range(3):
            again = await fetcher.fetch("http://site.example/page")
        assert {address for address, _ in site.connected} == {PUBLIC}
    assert first.status == "fetched"
    assert again.status == "refused"


async def test_proxies_cookies_and_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
        monkeypatch.setenv(name.upper(), "http://127.0.0.1:1")
    async with fetching({"/page": lambda h: h.answer(ARTICLE, Set_Cookie="a=b; Path=/")}) as (site, fetcher):
        for _ in range(2):
            assert (await fetcher.fetch("http://site.example/page")).status == "fetched"
        for _, _, headers in site.log:
            assert set(headers) == {"Host", "User-Agent", "Accept", "Accept-Encoding"}
            assert (headers["User-Agent"], headers["Accept-Encoding"]) == ("webrec", "gzip")
        assert len(site.connected) == 2  # used again, but for that of robots.txt, whose 404 page is not read


async def test_refused_before_anything_is_resolved_or_sent() -> None:
    urls = [
        "http://127.0.0.1/",
        "http://0177.1/",
        "file:///etc/passwd",
        "http://me:pw@site.example/",
        "http://intranet/",
    ]
    async with fetching({}) as (site, fetcher):
        pages = await fetch_all(fetcher, urls)
        assert (site.resolved, site.connected, site.log) == ([], [], [])
    assert [page.status for page in pages] == ["refused"] * len(urls)
    assert [page.url for page in pages] == urls


async def test_many_pages_in_order_and_no_more_at_a_time_than_allowed() -> None:
    busy, most = 0, 0
    three = threading.Barrier(3, timeout=10)

    def slow(handler: Handler) -> None:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        three.wait()
        time.sleep(0.05)
        busy -= 1
        handler.answer(ARTICLE.replace("soap", handler.headers["Host"]))

    urls = [f"http://site{n}.example/page" for n in range(9)]
    async with fetching({"/page": slow}, concurrency=3) as (_, fetcher):
        pages = await fetch_all(fetcher, urls)
    assert [page.url for page in pages] == urls
    assert all(f"site{n}.example" in page.text for n, page in enumerate(pages))
    assert most == 3


async def test_one_page_of_a_site_at_a_time() -> None:
    busy, most = 0, 0

    def slow(handler: Handler) -> None:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        time.sleep(0.03)
        busy -= 1
        handler.answer(ARTICLE)

    async with fetching({f"/{n}": slow for n in range(4)}) as (site, fetcher):
        pages = await fetch_all(fetcher, [f"http://site.example/{n}" for n in range(4)])
        assert [path for _, path, _ in site.log].count("/robots.txt") == 1
    assert {page.status for page in pages} == {"fetched"}
    assert most == 1
    async with (  # the runs of one process have a fetcher each
        fetching({f"/{n}": slow for n in range(4)}) as (_, one),
        fetching({f"/{n}": slow for n in range(4)}) as (_, other),
    ):
        urls = [f"http://site.example/{n}" for n in range(4)]
        both = await asyncio.gather(fetch_all(one, urls), fetch_all(other, urls))
    assert {page.status for pages in both for page in pages} == {"fetched"}
    assert most == 1


async def test_a_page_made_to_take_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webrec.tools.fetching.fetch.EXTRACTION_SECONDS", 1.5)
    endless = "<p>a b c d e f g" * 300_000
    async with fetching({"/endless": endless, "/page": ARTICLE}, max_bytes=10_000_000) as (_, fetcher):
        page, other = await fetch_all(fetcher, ["http://site.example/endless", "http://other.example/page"])
        after = await fetcher.fetch("http://site.example/page")
    assert page.status == "failed"
    assert "within 1.5 s" in page.reason
    assert other.status == after.status == "fetched"


async def test_cancelled_fetches_leave_the_fetcher_usable() -> None:
    async with fetching({"/slow": drip, "/page": ARTICLE}, seconds=20) as (_, fetcher):
        task = asyncio.create_task(fetcher.fetch("http://site.example/slow"))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await fetcher.fetch("http://site.example/page")).status == "fetched"


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS context for `name`, and the file of the authority that signed it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context, folder / "cert.pem"


@pytest.mark.parametrize(
    ("name", "trusted", "status"),
    [("site.example", True, "fetched"), ("other.example", True, "failed"), ("site.example", False, "failed")],
)
async def test_certificates_are_checked(tmp_path: Path, name: str, trusted: bool, status: str) -> None:
    tls, authority = certificate(tmp_path, name)
    site = Site({"/page": ARTICLE}, tls)
    fetcher = site.fetcher()
    if trusted:
        fetcher._downloader._certificates = ssl.create_default_context(cafile=str(authority))
    page = await fetcher.fetch("https://site.example/page")
    await fetcher.aclose()
    site.close()
    assert page.status == status
    assert bool(site.log) == (status == "fetched")  # nothing is sent to a server that cannot prove its name


async def test_the_extracting_process_is_told_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    monkeypatch.setenv("TAVILY_API_KEY", "tvly-secret")
    async with fetching({"/page": ARTICLE}) as (_, fetcher):
        assert (await fetcher.fetch("http://site.example/page")).status == "fetched"
        (child,) = [c for c in psutil.Process().children() if "extractor" in " ".join(c.cmdline())]
        assert "TAVILY_API_KEY" not in child.environ()


async def test_nothing_is_left_behind() -> None:
    import psutil

    process = psutil.Process()
    async with fetching({"/page": drip}, seconds=0.1) as (_, fetcher):
        await fetcher.fetch("http://site.example/page")
        before = process.num_fds()
        await fetch_all(fetcher, [f"http://site{n}.example/page" for n in range(30)])
    deadline = time.monotonic() + 20  # the server's own ends, in this process too, close a little later
    while process.num_fds() > before and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    assert process.num_fds() <= before
    assert not [c for c in process.children() if "extractor" in " ".join(c.cmdline())]


async def test_a_site_that_never_answers_is_not_waited_for_page_by_page() -> None:
    stalled = threading.Event()
    routes = {f"/{n}": lambda h: stalled.wait(20) for n in range(6)}
    async with fetching({**routes, "/robots.txt": plain}, seconds=0.4) as (site, fetcher):
        began = time.monotonic()
        pages = [await fetcher.fetch(f"http://site.example/{n}") for n in range(6)]
        stalled.set()
        assert time.monotonic() - began < 2.0  # twice .4 s, not six times
        asked = [path for _, path, _ in site.log if path != "/robots.txt"]
    assert [page.status for page in pages] == ["failed"] * 6
    assert [page.reason for page in pages[2:]] == ["its site did not answer in time before"] * 4
    assert set(asked) <= {"/0", "/1"}


async def test_a_site_that_answers_in_between_is_asked_again() -> None:
    stalled = threading.Event()
    slow = {f"/slow{n}": lambda h: stalled.wait(20) for n in range(2)}
    routes = {**slow, "/gone": lambda h: h.answer("", status=404), "/ok": plain, "/robots.txt": plain}
    async with fetching(routes, seconds=0.4) as (_, fetcher):
        pages = [await fetcher.fetch(f"http://site.example/{name}") for name in ("slow0", "gone", "slow1", "ok")]
        stalled.set()
    assert [page.status for page in pages] == ["failed", "failed", "failed", "fetched"]
