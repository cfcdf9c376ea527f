"""Providers by name: what each needs, the fallback, and addresses that are refused."""

from __future__ import annotations

import pytest

from webrec.errors import ConfigurationError
from webrec.tools.config import SearchConfig
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
