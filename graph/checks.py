"""What a graph is built of, checked when it is built: a mistake is one sentence there, not a deep `TypeError` in a run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from webrec.errors import ConfigurationError
from webrec.tools.callables import takes


def check_nodes(nodes: Mapping[str, Any], known: Collection[str]) -> None:
    """Raise `ConfigurationError` for a node that is unknown, or is no function of state and run."""
    for name, function in nodes.items():
        if name not in known:
            raise ConfigurationError(f"nodes: {name!r} is unknown; replace one of {', '.join(known)}")
        if not takes(function, 2):
            raise ConfigurationError(
                f"nodes: {name!r} ({_kind(function)}) cannot be called with state and run; give a function that takes these two"
            )


def check_providers(factories: Mapping[str, Any]) -> None:
    """Raise `ConfigurationError` for what makes no provider, such as a provider itself."""
    for name, factory in factories.items():
        if not takes(factory, 1):
            raise ConfigurationError(
                f"providers: {name!r} ({_kind(factory)}) cannot be called with the settings; give a function that makes the "
                "provider from them, e.g. lambda settings: provider"
            )


def check_strategies(strategies: Mapping[str, Any]) -> None:
    """Raise `ConfigurationError` for what is no query strategy, such as the function of one alone."""
    for name, strategy in strategies.items():
        if not all(hasattr(strategy, member) for member in ("keywords", "question", "reads_tokens")):
            raise ConfigurationError(
                f"query_strategies: {name!r} ({_kind(strategy)}) is no strategy; give a QueryStrategy(keywords=function)"
            )
        if not takes(strategy.keywords, 3):
            raise ConfigurationError(
                f"query_strategies: keywords of {name!r} cannot be called with user, text and picked words; give a function that "
                "takes these three"
            )
        if strategy.question is not None and not takes(strategy.question, 1):
            raise ConfigurationError(
                f"query_strategies: question of {name!r} cannot be called with the user; give a function that takes it, or None"
            )


def _kind(thing: object) -> str:
    """Its type alone: a provider may show its key."""
    return type(thing).__name__
