"""Providers by name: what each needs, the fallback, and addresses that are refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from webrec.errors import ConfigurationError
from webrec.tools.config import SearchConfig
from webrec.tools.page import Page
from webrec.tools.providers.duckduckgo import DuckDuckGo
from webrec.tools.providers.registry import BUILTIN, fallback_names, open_provider
from webrec.tools.providers.searxng import SearXNG


def test_what_comes_with_webrec() -> None:
    assert list(BUILTIN) == ["tavily", "brave", "searxng", "duckduckgo", "local", "sample"]
    assert open_provider("duckduckgo", SearchConfig()) == DuckDuckGo("https://html.duckduckgo.com")


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("https://searx.example", "https://searx.example"),
        ("http://localhost:8080/", "http://localhost:8080"),
        (" https://x.example/searx/ ", "https://x.example/searx"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_searxng_addresses(given: str, used: str) -> None:
    assert open_provider("searxng", SearchConfig(searxng_url=given)) == SearXNG(used)


@pytest.mark.parametrize("url", [None, "", "  "])
def test_searxng_needs_its_address(url: str | None) -> None:
    with pytest.raises(ConfigurationError, match=r"^searxng_url: the searxng provider needs it"):
        open_provider("searxng", SearchConfig(searxng_url=url))


@pytest.mark.parametrize(
    "url",
    [
        "searx.example",
        "ftp://searx.example",
        "file:///etc/passwd",
        "https://me:secret@searx.example",
        "https://secret@searx.example",
        "https://searx.example/?token=secret",
        "https://searx.example/#secret",
        "https://searx.example:99999",
        "https://searx.example:port",
        "https://",
        "https://searx.example/\nHost: secret",
    ],
)
def test_searxng_refuses_other_addresses_and_shows_none(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^searxng_url: is no plain http or https address") as caught:
        open_provider("searxng", SearchConfig(searxng_url=url))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("key", ["clé", "two words", "line\nbreak", "\u200bpasted"])
@pytest.mark.parametrize(("name", "variable"), [("tavily", "TAVILY_API_KEY"), ("brave", "BRAVE_API_KEY")])
def test_a_key_that_no_header_can_carry(monkeypatch: pytest.MonkeyPatch, name: str, variable: str, key: str) -> None:
    monkeypatch.setenv(variable, key)
    with pytest.raises(ConfigurationError, match=f"^{variable}: holds characters that no key has") as caught:
        open_provider(name, SearchConfig())
    assert key not in str(caught.value)


class Own:
    name = "own"
    query_limit: int | None = None

    async def search(self, query: str, limit: int) -> list[Page]:
        return []


class Static(Own):
    @staticmethod
    async def search(query: str, limit: int) -> list[Page]:
        return []


@pytest.mark.parametrize("own", [Own(), Static, SimpleNamespace(name="o", query_limit=9, search=Own().search)])
def test_a_provider_is_whatever_has_its_members(own: Any) -> None:
    assert open_provider("own", SearchConfig(), {"own": lambda _: own}) is own


def without(member: str) -> SimpleNamespace:
    whole = {"name": "own", "query_limit": None, "search": Own().search}
    return SimpleNamespace(**{name: value for name, value in whole.items() if name != member})


@pytest.mark.parametrize(
    ("own", "says"),
    [
        (None, "the factory of 'own' made NoneType without name and query_limit and search; a provider has name,"),
        (without("query_limit"), "the factory of 'own' made SimpleNamespace without query_limit; a provider has name,"),
        (without("name"), "the factory of 'own' made SimpleNamespace without name; a provider has name,"),
        (SimpleNamespace(name=3, query_limit=None, search=Own().search), "the name of 'own' is int; give a text"),
        (SimpleNamespace(name="o", query_limit="9", search=Own().search), "query_limit of 'own' is str; give a whole"),
        (
            SimpleNamespace(name="o", query_limit=9, search=None),
            "search of 'own' cannot be called with query and limit",
        ),
        (Own, "search of 'own' cannot be called with query and limit; write it as async def search"),
    ],
)
def test_what_is_no_provider_is_one_sentence(own: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^providers: {says}"):
        open_provider("own", SearchConfig(), {"own": lambda _: own})


def test_fallback_names() -> None:
    assert fallback_names(SearchConfig()) == [], "and no key is looked for"
    config = SearchConfig(providers=("sample",), fallback=("brave", "searxng", "brave"))
    assert fallback_names(config) == ["brave", "searxng"]
    own = {**BUILTIN, "own": BUILTIN["sample"]}
    assert fallback_names(SearchConfig(providers=("sample",), fallback=("own",)), own) == ["own"]


@pytest.mark.parametrize("name", ["bing", "auto"])
def test_an_unknown_fallback(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^fallback: '{name}' is unknown; use one of tavily, brave,"):
        fallback_names(SearchConfig(providers=("sample",), fallback=(name,)))


@pytest.mark.parametrize("providers", [("brave",), ("auto",)])
def test_a_fallback_that_is_asked_already(monkeypatch: pytest.MonkeyPatch, providers: tuple[str, ...]) -> None:
    monkeypatch.delenv("TAVILY_API_KEY", raising=False)
    monkeypatch.setenv("BRAVE_API_KEY", "k")
    with pytest.raises(ConfigurationError, match=r"^fallback: brave is asked already \(providers\)"):
        fallback_names(SearchConfig(providers=providers, fallback=("brave",)))
