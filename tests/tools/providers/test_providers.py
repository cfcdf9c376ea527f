"""The four web providers: what they send, as documented, and the pages they make of the documented answers."""

from __future__ import annotations

import json
import math
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webrec.errors import MissingExtraError, SearchError
from webrec.tools.config import SearchConfig
from webrec.tools.page import MeteredProvider, Page
from webrec.tools.providers import duckduckgo
from webrec.tools.providers.answers import MOST_RESULTS, pages_of
from webrec.tools.providers.registry import open_provider

from .answers import PROVIDERS, SNIPPETS, TITLES, URLS
from .fault_server import FaultServer
from .faults import KEY, provider_at


@pytest.mark.parametrize("name", PROVIDERS)
async def test_pages_are_normalised_and_distinct(server: FaultServer, name: str) -> None:
    pages = await provider_at(name, server.url("none")).search("wool scarf", 10)
    assert [(p.title, p.url, p.snippet) for p in pages] == list(zip(TITLES, URLS, SNIPPETS, strict=True))
    assert {p.provider for p in pages} == {name}
    scored, dated = name in {"tavily", "searxng"}, name != "duckduckgo"
    assert [(p.score, p.time) for p in pages] == [(0.9 if scored else None, "2024-05-01" if dated else ""), (None, "")]


@pytest.mark.parametrize("name", PROVIDERS)
async def test_no_more_pages_than_asked_for(server: FaultServer, name: str) -> None:
    pages = await provider_at(name, server.url("none")).search("wool scarf", 1)
    assert [p.title for p in pages] == TITLES[:1]


@pytest.mark.parametrize("name", PROVIDERS)
async def test_bytes_that_are_no_utf_8_become_the_replacement_character(server: FaultServer, name: str) -> None:
    pages = await provider_at(name, server.url("text that is not UTF-8")).search("wool scarf", 10)
    assert any("\ufffd" in p.title + p.snippet for p in pages)


@pytest.mark.parametrize(
    ("name", "cost", "options"),
    [
        ("tavily", 1.0, {"search_depth": "basic"}),
        ("brave", 1.0, {"extra_snippets": "true"}),
        ("searxng", 0.0, {"instance": "http://searx.example"}),
        ("duckduckgo", 0.0, {"region": "wt-wt"}),
    ],
)
def test_providers_are_metered(name: str, cost: float, options: dict[str, object]) -> None:
    provider = provider_at(name, "http://searx.example")
    assert isinstance(provider, MeteredProvider)
    assert (provider.cost_units, provider.options) == (cost, options)
    assert KEY not in repr(provider)


async def test_tavily_sends_what_is_documented(server: FaultServer) -> None:
    await provider_at("tavily", server.url("none")).search("wool scarf", 30)
    ((line, body),) = server.requests
    assert line.startswith("POST /")
    assert "/search HTTP" in line
    assert json.loads(body) == {"query": "wool scarf", "max_results": 20, "search_depth": "basic"}
    assert f"authorization: bearer {KEY}" in server.headers[0].lower()


async def test_brave_sends_what_is_documented(server: FaultServer) -> None:
    await provider_at("brave", server.url("none")).search("word " * 60, 30)
    ((line, _),) = server.requests
    query = parse_qs(line.split()[1].partition("?")[2])
    assert query == {"q": [" ".join(["word"] * 50)], "count": ["20"], "extra_snippets": ["true"]}
    assert f"x-subscription-token: {KEY}" in server.headers[0].lower()


async def test_searxng_sends_what_is_documented(server: FaultServer) -> None:
    await provider_at("searxng", server.url("none")).search("wool scarf", 10)
    ((line, _),) = server.requests
    assert line.startswith("GET /")
    assert parse_qs(line.split()[1].partition("?")[2]) == {"q": ["wool scarf"], "format": ["json"]}


async def test_duckduckgo_sends_its_form_as_a_browser_does(server: FaultServer) -> None:
    await provider_at("duckduckgo", server.url("none")).search("wool scarf", 10)
    ((line, body),) = server.requests
    assert line.startswith("POST /")
    assert "/html/ HTTP" in line
    form = parse_qs(body.decode())
    assert (form["q"], form["l"]) == (["wool scarf"], ["wt-wt"])
    assert "user-agent: mozilla/" in server.headers[0].lower()


async def test_duckduckgo_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duckduckgo.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'webrec\[duckduckgo\]'"):
        open_provider("duckduckgo", SearchConfig())
    with pytest.raises(MissingExtraError, match=r"ddgs is not installed"):
        await duckduckgo.DuckDuckGo("http://127.0.0.1:9").search("q", 1)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
RESULTS = st.lists(
    VALUES
    | st.fixed_dictionaries(
        {}, optional={k: VALUES | st.sampled_from(["a", *URLS]) for k in ("title", "url", "snippet", "score", "time")}
    ),
    max_size=6,
)


def _usable(result: object) -> bool:
    """Whether some text of it can be shown."""
    if not isinstance(result, dict):
        return False
    page = Page.model_validate({**{k: result.get(k) for k in ("title", "url", "snippet")}, "provider": "p"})
    return bool(page.title or page.url or page.snippet)


@given(results=RESULTS | VALUES, limit=st.integers(1, 5))
def test_any_results_are_distinct_pages_or_one_error(results: object, limit: int) -> None:
    usable = isinstance(results, list) and any(_usable(result) for result in results)
    if not usable and results != []:
        with pytest.raises(SearchError) as caught:
            pages_of("p", results, limit, lambda result: result)
        assert (caught.value.lost, caught.value.retry) == (True, False)
        return
    pages = pages_of("p", results, limit, lambda result: result)
    assert len(pages) <= limit
    assert bool(pages) == usable
    urls = [p.url for p in pages if p.url]
    assert len(set(urls)) == len(urls)
    for page in pages:
        assert page.title or page.url or page.snippet
        assert Page.model_validate_json(page.model_dump_json()) == page


def test_a_page_twice_is_kept_once() -> None:
    results = [
        {"title": "a", "snippet": "s", "url": "https://x.example/#one"},
        {"title": "b", "snippet": "t", "url": "https://x.example/#two"},
        {"title": "a", "snippet": "s", "url": "https://y.example/"},
        {"title": "c", "snippet": "s"},
        {"url": "https://z.example/"},
        {"url": "https://w.example/"},
    ]
    pages = pages_of("p", results, 10, lambda result: result)
    assert [p.title or p.url for p in pages] == ["a", "c", "https://z.example/", "https://w.example/"]


def test_a_score_is_a_finite_number_or_none() -> None:
    scores = [0.5, 3, True, "0.5", None, [1], math.nan, math.inf, -math.inf, 10**400]
    pages = pages_of("p", [{"title": str(i), "score": s} for i, s in enumerate(scores)], 20, lambda result: result)
    assert [p.score for p in pages] == [0.5, 3.0] + [None] * 8


def test_of_an_endless_answer_the_beginning_is_looked_at() -> None:
    looked_at = []

    def fields(result: Any) -> Any:
        looked_at.append(result)
        return result

    assert len(pages_of("p", [{"title": str(n)} for n in range(10_000)], 10, fields)) == 10
    assert len(looked_at) == MOST_RESULTS
    assert len(pages_of("p", [{"title": str(n)} for n in range(10_000)], 150, lambda result: result)) == 150
