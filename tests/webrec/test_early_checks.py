"""A tool or server that could never answer is not made: its maker is told, not the model that calls it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import webrec
from webrec.mcp_server import make_server

from .conftest import Shelf

WRONG = [
    ({"providers": ["nope"]}, "providers: 'nope' is unknown; use one of auto, tavily"),
    ({"providers": ["tavily"]}, "providers: tavily needs a key; set the environment variable TAVILY_API_KEY"),
    ({}, "providers: no key is set"),
    ({"providers": ["sample"], "fallback": ["nope"]}, "fallback: 'nope' is unknown"),
    ({"providers": ["local"], "pages_path": "/no/such/folder"}, "pages_path: '/no/such/folder' does not exist"),
    ({"query_strategy": "nope"}, "query_strategy: 'nope' is unknown"),
    ({"retrieval": False, "query_strategy": "nope"}, "query_strategy: 'nope' is unknown"),
    ({"retrieval": False, "pages_before": "soon"}, "pages_before: not a date"),
    ({"retrieval": False, "decoder_url": "here"}, "decoder_url: is no plain http"),
]


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("TAVILY_API_KEY", "BRAVE_API_KEY"):
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize(("settings", "says"), WRONG)
def test_wrong_settings_make_no_tool_and_no_server(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(webrec.ConfigurationError, match=f"^{says}"):
        webrec.as_tool(**settings)
    with pytest.raises(webrec.ConfigurationError, match=f"^{says}"):
        make_server(webrec.RunContext(**settings))


def test_what_retrieval_needs_is_not_asked_for_without_it() -> None:
    assert webrec.as_tool(retrieval=False).name == "recommend_items"
    assert webrec.as_tool(query_strategy="none", providers=["tavily"])
    assert make_server(webrec.RunContext(retrieval=False))


def test_a_graph_that_pauses_makes_none() -> None:
    pausing = webrec.build_graph(interrupt_before=["search"])
    for make in (
        lambda: webrec.as_tool(graph=pausing, retrieval=False),
        lambda: make_server(webrec.RunContext(retrieval=False), graph=pausing),
    ):
        with pytest.raises(webrec.ConfigurationError, match="graph: it pauses, and a call cannot go on; build one"):
            make()


def test_a_missing_extra_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise webrec.MissingExtraError("torch is not installed")

    monkeypatch.setattr("webrec.early_checks.require_model_extra", missing)
    with pytest.raises(webrec.MissingExtraError, match="torch"):
        webrec.as_tool(retrieval=False)


def test_a_graph_with_providers_of_its_own_makes_both(tiny_bytes: Path) -> None:
    own = {"tavily": lambda _: Shelf(), "nowhere_else": lambda _: Shelf()}
    graph = webrec.build_graph(
        providers=own,
        query_strategies={"fixed": webrec.QueryStrategy(lambda *_: ["scarf"])},
    )
    settings = {"backbone": tiny_bytes, "providers": ["tavily", "nowhere_else"], "query_strategy": "fixed"}
    tool = webrec.as_tool(graph=graph, **settings)
    answer = tool.invoke({"history": ["Red boots"], "candidates": ["Wool scarf", "Hose"]})
    assert '"retrieval":"found"' in answer
    assert make_server(webrec.RunContext(**{**settings, "backbone": str(tiny_bytes)}), graph=graph)
