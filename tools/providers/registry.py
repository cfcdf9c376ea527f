"""Providers by name: which are asked for a run, and what each needs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from webrec.errors import ConfigurationError
from webrec.tools.callables import takes
from webrec.tools.config import SearchConfig
from webrec.tools.page import SearchProvider
from webrec.tools.providers import brave, duckduckgo, searxng, tavily
from webrec.tools.providers.local_index import LocalIndex
from webrec.tools.sample_web import pages_path as sample_pages_path

ProviderFactory = Callable[[SearchConfig], SearchProvider]


def _key(variable: str, provider: str) -> SecretStr:
    value = os.environ.get(variable, "").strip()
    if not value:
        raise ConfigurationError(f"providers: {provider} needs a key; set the environment variable {variable}")
    if not all("!" <= character <= "~" for character in value):
        raise ConfigurationError(f"{variable}: holds characters that no key has; copy the key of {provider} again")
    return SecretStr(value)


def _local(config: SearchConfig) -> SearchProvider:
    if not config.pages_path:
        raise ConfigurationError("pages_path: the local provider needs it; give a folder or a JSONL file of pages")
    return LocalIndex(Path(config.pages_path).expanduser())


def _duckduckgo(_: SearchConfig) -> SearchProvider:
    duckduckgo.require_duckduckgo_extra()
    return duckduckgo.DuckDuckGo()


BUILTIN: Mapping[str, ProviderFactory] = {
    "tavily": lambda _: tavily.Tavily(_key(tavily.KEY_VARIABLE, "tavily")),
    "brave": lambda _: brave.Brave(_key(brave.KEY_VARIABLE, "brave")),
    "searxng": lambda config: searxng.SearXNG(searxng.checked_instance(config.searxng_url)),
    "duckduckgo": _duckduckgo,
    "local": _local,
    "sample": lambda _: LocalIndex(sample_pages_path(), name="sample"),
}
"""The providers that come with WebRec. The sample web is used by name only, never as a fallback."""


def resolve_names(config: SearchConfig) -> list[str]:
    """The provider names of a run, `auto` replaced, duplicates dropped. Raises `ConfigurationError` if auto finds none."""
    names = []
    for name in config.providers:
        names.append(_automatic(config) if name == "auto" else name)
    return list(dict.fromkeys(names))


def fallback_names(config: SearchConfig, factories: Mapping[str, ProviderFactory] = BUILTIN) -> list[str]:
    """The providers asked one after the other when all others failed, duplicates dropped.

    Raises `ConfigurationError` for an unknown name, and for one that `providers` has already: it would be asked twice.
    """
    names = list(dict.fromkeys(config.fallback))
    asked = resolve_names(config) if names else []
    for name in names:
        if name not in factories:
            raise ConfigurationError(f"fallback: {name!r} is unknown; use one of {', '.join(factories)}")
        if name in asked:
            raise ConfigurationError(f"fallback: {name} is asked already (providers); name it in one of the two")
    return names


def _automatic(config: SearchConfig) -> str:
    if config.pages_path:
        return "local"
    for name, variable in (("tavily", tavily.KEY_VARIABLE), ("brave", brave.KEY_VARIABLE)):
        if os.environ.get(variable, "").strip():
            return name
    raise ConfigurationError(
        f"providers: no key is set; set {tavily.KEY_VARIABLE} or {brave.KEY_VARIABLE}, give pages_path, "
        "name the provider 'sample', or turn retrieval off"
    )


def open_provider(
    name: str, config: SearchConfig, factories: Mapping[str, ProviderFactory] = BUILTIN
) -> SearchProvider:
    """The provider `name`.

    Raises `ConfigurationError` if it is unknown or lacks its key, address, extra or folder, or if what its factory made is no provider.
    """
    if name not in factories:
        raise ConfigurationError(f"providers: {name!r} is unknown; use one of {', '.join(['auto', *factories])}")
    provider = factories[name](config)
    _check(name, provider)
    return provider


def _check(name: str, made: Any) -> None:
    lacking = [member for member in ("name", "query_limit", "search") if not hasattr(made, member)]
    if lacking:
        raise ConfigurationError(
            f"providers: the factory of {name!r} made {type(made).__name__} without {' and '.join(lacking)}; a provider has name, "
            "query_limit (None for any) and async def search(self, query, limit)"
        )
    if not isinstance(made.name, str):
        raise ConfigurationError(f"providers: the name of {name!r} is {type(made.name).__name__}; give a text")
    if made.query_limit is not None and not hasattr(made.query_limit, "__index__"):
        raise ConfigurationError(
            f"providers: query_limit of {name!r} is {type(made.query_limit).__name__}; give a whole number of characters, or None for any"
        )
    if not takes(made.search, 2):
        raise ConfigurationError(
            f"providers: search of {name!r} cannot be called with query and limit; write it as async def search(self, query, limit)"
        )
