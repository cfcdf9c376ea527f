"""Pages behind the results, through the graph, from a site on loopback."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from webrec import Page, Recommendation, arecommend
from webrec.errors import MissingExtraError, NotRecordedError
from webrec.graph.build import build_graph
from webrec.report.html import ReportEntry, render_report
from webrec.tools.fetching.recorded import fetch_recorded

from ..web_site import ARTICLE, PARAGRAPHS, Site  # noqa: TID252

HISTORY, CANDIDATES = ["Red boots", "Warm gloves"], ["Wool scarf", "Garden hose", "Blue jacket"]


class Shelf:
    """A provider with three results."""

    name, query_limit, cost_units = "shelf", None, 1.0
    options: dict[str, str] = {}  # noqa: RUF012

    async def search(self, query: str, limit: int) -> list[Page]:
        return [
            Page(title="Soap", url="http://site.example/soap", snippet="On soap.", time="2012-01-01", provider="shelf"),
            Page(title="Gone", url="http://site.example/gone", snippet="On what is gone.", provider="shelf"),
            Page(title="Inside", url="http://127.0.0.1/admin", snippet="On the inside.", provider="shelf"),
            Page(title="Book", snippet="A page without address.", provider="shelf"),
        ]


class Other(Shelf):
    """Another one."""

    name = "other"

    async def search(self, query: str, limit: int) -> list[Page]:
        return [Page(title="More", url="http://site.example/more", snippet="On more.", provider="other")]


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    site = Site({"/soap": ARTICLE})

    def make(config: Any) -> Any:
        return site.fetcher(seconds=config.fetch_seconds, max_bytes=config.fetch_bytes)

    monkeypatch.setattr("webrec.nodes.fetch.fetch_recorded", functools.partial(fetch_recorded, make_fetcher=make))
    yield site
    site.close()


Run = Callable[..., Recommendation]


@pytest.fixture
def run(tiny_bytes: Path) -> Run:
    def run_it(**settings: Any) -> Recommendation:
        given = {"providers": ["shelf"], "query_strategy": "prompt", "backbone": str(tiny_bytes)} | settings
        graph = build_graph(providers={"shelf": lambda _: Shelf(), "other": lambda _: Other()})
        return asyncio.run(arecommend(HISTORY, CANDIDATES, graph=graph, **given))

    return run_it


def test_the_page_is_read_in_place_of_its_snippet(site: Site, run: Run) -> None:
    result = run(fetch_pages=True)
    soap, gone, inside, book = result.pages
    assert all(p in soap.text for p in PARAGRAPHS)
    assert PARAGRAPHS[0] in result.prompt.text
    assert "On soap." not in result.prompt.text
    assert (soap.fetched, soap.time, soap.kept) == ("fetched", "2013-05-06", len(soap.text))
    assert [gone.text, inside.text, book.text] == ["", "", ""]
    assert "On what is gone." in result.prompt.text
    assert gone.fetched == "the server answered HTTP 404"
    assert inside.fetched == "the address is not public"
    assert book.fetched is None
    assert {host for host, _, _ in site.log} == {"site.example"}
    html = render_report([ReportEntry("Alone", tuple(HISTORY), result)])
    assert "the page itself" in html
    assert "snippet only: the address is not public" in html


def test_what_was_fetched_is_replayed_with_the_network_off(site: Site, run: Run) -> None:
    first = run(fetch_pages=True)
    site.close()
    asked = len(site.log)
    again = run(fetch_pages=True, search_replay=True)
    assert again.pages == first.pages
    assert again.ranking == first.ranking
    assert len(site.log) == asked


def test_no_more_pages_than_are_asked_of_a_provider(site: Site, run: Run) -> None:
    run(fetch_pages=True, pages=1, providers=["shelf", "other"])
    assert site.paths() == ["/soap"]


def test_off_by_default(site: Site, run: Run) -> None:
    result = run()
    assert site.log == []
    assert [p.fetched for p in result.pages] == [None] * 4
    assert "On soap." in result.prompt.text


def test_a_later_date_of_the_page_counts_for_the_leakage_rules(site: Site, run: Run) -> None:
    assert [p.title for p in run(pages_before="2013").pages] == ["Soap"]
    result = run(pages_before="2013", fetch_pages=True)
    assert result.pages == []
    assert {p.title: p.reason for p in result.left_out}["Soap"] == "not_before"


def test_a_replay_without_the_page_is_an_error(site: Site, run: Run) -> None:
    run()  # records the search alone
    with pytest.raises(NotRecordedError, match="page behind a result"):
        run(fetch_pages=True, search_replay=True)
    assert site.log == []


def test_without_the_extra_it_is_said_before_anything_is_asked(
    site: Site, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webrec.tools.fetching.extraction.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match="fetch"):
        run(fetch_pages=True)
