"""robots.txt: asked for once per site, obeyed, and what is done where there is none or it cannot be read."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable

import pytest

from ...web_site import ARTICLE, Handler, Route, bomb, fetch_all, fetched, fetching, huge, plain, redirect  # noqa: TID252

ROBOTS: list[tuple[str, Route | None, str]] = [
    ("none", None, "fetched"),
    ("forbidden file", lambda h: h.answer("", status=403), "fetched"),
    ("server error", lambda h: h.answer("", status=503), "failed"),
    ("no answer", lambda h: time.sleep(2.5), "failed"),
    ("all allowed", lambda h: h.answer("User-agent: *\nDisallow:", kind="text/plain"), "fetched"),
    ("all forbidden", lambda h: h.answer("User-agent: *\nDisallow: /", kind="text/plain"), "robots"),
    ("other path", lambda h: h.answer("User-agent: *\nDisallow: /private", kind="text/plain"), "fetched"),
    ("this path", lambda h: h.answer("User-agent: *\nDisallow: /p*e$", kind="text/plain"), "robots"),
    ("we alone", lambda h: h.answer("User-agent: webrec\nDisallow: /", kind="text/plain"), "robots"),
    ("all but we", lambda h: h.answer("User-agent: *\nDisallow: /\nUser-agent: WebRec\nAllow: /", kind=""), "fetched"),
    ("a web page", lambda h: h.answer(ARTICLE), "fetched"),
    ("a picture", lambda h: h.answer(b"\x89PNG", kind="image/png"), "fetched"),
    ("not UTF-8", lambda h: h.answer(b"\xff\xfe\nUser-agent: *\nDisallow: /\n", kind="text/plain"), "robots"),
    ("too long", huge, "failed"),
    ("bomb", bomb, "failed"),
    ("moved", redirect("/robots2.txt"), "robots"),
    ("loop", redirect("/robots.txt"), "fetched"),
    ("moved to loopback", redirect("http://127.0.0.1/robots.txt"), "refused"),
    ("with a byte order mark", lambda h: h.answer("\ufeffUser-agent: *\nDisallow: /", kind="text/plain"), "robots"),
    ("rules by rules", lambda h: h.answer("useragent:X\n" * 1_000 + "allow:/Y\n" * 1_000, kind=""), "failed"),
    ("many crawlers kept out", lambda h: h.answer("User-agent: Bot\nDisallow: /\n\n" * 600, kind=""), "fetched"),
    ("names without an end", lambda h: h.answer("useragent:X\njunk\nSitemap: x\n" * 2_100, kind=""), "failed"),
    ("many of both", lambda h: h.answer("useragent:X\nallow:/Y\n" * 400, kind=""), "fetched"),
    ("compressed", lambda h: h.answer(gzip.compress(b"User-agent: *\nDisallow: /"), Content_Encoding="gzip"), "robots"),
]


@pytest.mark.parametrize(("robots", "status"), [r[1:] for r in ROBOTS], ids=[r[0] for r in ROBOTS])
async def test_robots(robots: Route | None, status: str) -> None:
    forbid: Callable[[Handler], None] = lambda h: h.answer("User-agent: *\nDisallow: /", kind="text/plain")  # noqa: E731
    routes: dict[str, Route] = {"/page": plain, "/robots2.txt": forbid}
    if robots is not None:
        routes["/robots.txt"] = robots
    async with fetching(routes, seconds=1.5) as (site, fetcher):
        page = await fetcher.fetch("http://site.example/page")
        asked = "/page" in site.paths()
    assert page.status == status
    assert asked == (status == "fetched")


async def test_a_robots_file_has_a_limit_of_its_own() -> None:
    long = "# nothing\n" * 60_000
    routes: dict[str, Route] = {"/robots.txt": lambda h: h.answer(long, kind="text/plain"), "/page": plain}
    assert (await fetched(routes, max_bytes=10_000_000)).reason == "the site's robots.txt cannot be read"


async def test_robots_of_each_site_and_of_redirects() -> None:
    forbidden = "User-agent: *\nDisallow: /"

    def by_site(handler: Handler) -> None:
        handler.answer(forbidden if handler.headers["Host"] == "closed.example" else "", kind="text/plain")

    routes: dict[str, Route] = {"/robots.txt": by_site, "/page": ARTICLE, "/go": redirect("http://closed.example/page")}
    async with fetching(routes) as (site, fetcher):
        addresses = [f"http://{n}.example/page" for n in ("open", "closed")]
        pages = await fetch_all(fetcher, [*addresses, "http://open.example/go", "http://closed.example:8080/page"])
        assert {host for host, path, _ in site.log if path == "/page"} == {"open.example", "closed.example:8080"}
    assert [page.status for page in pages] == ["fetched", "robots", "robots", "fetched"]


async def test_a_robots_file_whose_first_asker_was_cut_off_is_asked_for_again() -> None:
    answers = iter([lambda h: time.sleep(2.5), lambda h: h.answer("", kind="text/plain")])
    async with fetching({"/robots.txt": lambda h: next(answers)(h), "/page": ARTICLE}, seconds=1.5) as (_, fetcher):
        first = await fetcher.fetch("http://site.example/page")
        second = await fetcher.fetch("http://site.example/page")
    assert (first.status, second.status) == ("failed", "fetched")
