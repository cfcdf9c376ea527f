"""Which nodes run: every conditional edge, asserted from the streamed events of real runs on a tiny LLaMA."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from webrec.errors import ConfigurationError, InputError, SearchError, SpendingCapError
from webrec.graph.build import build_graph
from webrec.nodes.run import run_blocking
from webrec.nodes.schema import Recommendation
from webrec.tools.page import Page

HISTORY = ["Red boots", "Warm gloves"]
CANDIDATES = ["Wool scarf", "Garden hose", "Blue jacket"]


class Shelf:
    """A provider that always finds the same pages, or fails."""

    query_limit: int | None = 40

    def __init__(self, name: str, count: int = 2, error: str = "") -> None:
        self.name, self.count, self.error = name, count, error
        self.queries: list[str] = []

    async def search(self, query: str, limit: int) -> list[Page]:
        self.queries.append(query)
        if self.error:
            raise SearchError(self.error)
        pages = [
            Page(title=f"{self.name} {n}", snippet=f"A page on scarves, number {n}.", provider=self.name)
            for n in range(self.count)
        ]
        return pages[:limit]


RunGraph = Callable[..., tuple[list[str], Recommendation]]


@pytest.fixture
def run(tiny_bytes: Path) -> RunGraph:
    """Run the graph with given providers; returns the nodes in the order they started, and the result."""

    def run_it(*providers: Shelf, graph: Any = None, **settings: Any) -> tuple[list[str], Recommendation]:
        from webrec.api import arecommend

        events: list[dict[str, Any]] = []
        factories = {p.name: lambda _config, p=p: p for p in providers}
        built = graph or build_graph(providers=factories)
        settings = {
            "backbone": str(tiny_bytes),
            "dtype": "float32",
            "reasoning_tokens": 24,
            "language": "xx",
        } | settings
        if providers:
            settings.setdefault("providers", [p.name for p in providers])
        result = asyncio.run(arecommend(HISTORY, CANDIDATES, graph=built, on_progress=events.append, **settings))
        return [e["node"] for e in events if e["event"] == "started"], result

    return run_it


def test_keywords_found_pages_found(run: RunGraph) -> None:
    shelf = Shelf("one")
    nodes, result = run(shelf)
    assert nodes == ["prepare", "reason", "extract", "search", "collect", "sift", "augment", "score"]
    assert result.retrieval == "found"
    assert [p.title for p in result.pages] == ["one 0", "one 1"]
    assert result.query == " ".join(result.keywords)
    assert result.searches[0].query == shelf.queries[0]
    assert len(shelf.queries[0]) <= 40, "a provider's own limit cuts the query"
    assert result.head == "none"
    assert "Websites: [1] Title: one 0 Content: A page on scarves, number 0." in result.prompt.text


def test_retrieval_off_by_either_setting(run: RunGraph) -> None:
    for settings in ({"retrieval": False}, {"query_strategy": "none"}):
        shelf = Shelf("one")
        nodes, result = run(shelf, **settings)
        assert nodes == ["prepare", "augment", "score"]
        assert result.retrieval == "off"
        assert not shelf.queries
        assert "Websites" not in result.prompt.text


def test_prompt_strategy_asks_the_backbone_nothing(run: RunGraph) -> None:
    shelf = Shelf("one")
    nodes, result = run(shelf, query_strategy="prompt")
    assert nodes == ["prepare", "extract", "search", "collect", "sift", "augment", "score"]
    assert result.reasoning is None
    assert result.query.startswith("A user has bought Red boots; Warm gloves in the previous.")


def test_llm_strategy_uses_what_the_backbone_wrote(run: RunGraph) -> None:
    nodes, result = run(Shelf("one"), query_strategy="llm")
    assert nodes[:3] == ["prepare", "reason", "extract"]
    assert result.reasoning is not None
    assert result.query
    assert all(word in result.reasoning.text for word in result.keywords)


def test_no_keyword_skips_search(run: RunGraph) -> None:
    shelf = Shelf("one")
    nodes, result = run(shelf, reasoning_tokens=0)
    assert nodes == ["prepare", "reason", "extract", "augment", "score"]
    assert result.retrieval == "no_keywords"
    assert not shelf.queries
    assert len(result.ranking) == 3


def test_no_page_is_a_state(run: RunGraph) -> None:
    nodes, result = run(Shelf("one", count=0))
    assert nodes == ["prepare", "reason", "extract", "search", "collect", "augment", "score"]
    assert result.retrieval == "no_pages"
    assert result.searches[0].found == 0
    assert "Websites" not in result.prompt.text


def test_rerank_runs_where_there_are_pages(run: RunGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    class Encoder:
        def __init__(self, name: str) -> None:
            assert name == "minilm"

        def encode(self, texts: list[str]) -> Any:
            rows = np.array([[len(t) % 7 + 1.0, len(t) % 3, t.count("3")] for t in texts], dtype=np.float32)
            return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    monkeypatch.setattr("webrec.nodes.rerank.get_sentence_encoder", Encoder)
    nodes, result = run(Shelf("one", count=9), rerank=True, pages=4, rerank_pool=8)
    assert nodes == ["prepare", "reason", "extract", "search", "collect", "sift", "rerank", "augment", "score"]
    assert len(result.pages) == 4
    similarities = [p.similarity for p in result.pages]
    assert None not in similarities
    assert similarities == sorted(similarities, reverse=True)  # type: ignore[type-var]
    nodes, _ = run(Shelf("one", count=0), rerank=True)
    assert "rerank" not in nodes


def test_providers_are_asked_side_by_side_and_take_turns(run: RunGraph) -> None:
    class Waiting(Shelf):
        def __init__(self, name: str, mine: asyncio.Event, other: asyncio.Event) -> None:
            super().__init__(name)
            self.mine, self.other = mine, other

        async def search(self, query: str, limit: int) -> list[Page]:
            self.mine.set()
            await asyncio.wait_for(self.other.wait(), 20)  # passes only if the other one has begun
            return await super().search(query, limit)

    first, second = asyncio.Event(), asyncio.Event()
    nodes, result = run(Waiting("a", first, second), Waiting("b", second, first), pages=3)
    assert nodes.count("search") == 2
    assert nodes.count("collect") == 1
    assert [p.title for p in result.pages] == ["a 0", "b 0", "a 1"]


def test_one_failed_provider_is_a_warning_all_failed_an_error(run: RunGraph) -> None:
    _, result = run(Shelf("good"), Shelf("bad", error="bad is down"))
    assert result.retrieval == "found"
    assert result.warnings == ["bad is down; the other providers' pages were used"]
    with pytest.raises(SearchError, match="bad is down; nothing was searched"):
        run(Shelf("bad", error="bad is down"))
    with pytest.raises(SearchError, match="every search failed: one is down; two is down"):
        run(Shelf("one", error="one is down"), Shelf("two", error="two is down"))


def test_whatever_a_provider_raises_is_its_own_failure(run: RunGraph) -> None:
    class Broken(Shelf):
        async def search(self, query: str, limit: int) -> list[Page]:
            self.queries.append(query)
            raise KeyError("the secret key")

    broken = Broken("own")
    _, result = run(Shelf("good"), broken)
    assert result.warnings == ["own failed (KeyError); the other providers' pages were used"]
    assert [p.provider for p in result.pages] == ["good", "good"]
    assert len(broken.queries) == 1, "and not asked again"
    assert "secret" not in result.model_dump_json()
    with pytest.raises(SearchError, match=r"^own failed \(KeyError\); nothing was searched"):
        run(Broken("own"))
    _, result = run(Broken("own"), Shelf("spare"), providers=["own"], fallback=["spare"])
    assert [p.provider for p in result.pages] == ["spare", "spare"]


def test_a_failure_is_told_without_being_changed(run: RunGraph) -> None:
    class Quota(SearchError):
        def __init__(self, code: int, text: str) -> None:
            super().__init__(f"{text} ({code})")

    class Empty(Shelf):
        async def search(self, query: str, limit: int) -> list[Page]:
            raise failure

    failure = Quota(402, "no credit")
    with pytest.raises(SearchError, match=r"no credit \(402\).*; nothing was searched"):
        run(Empty("one"))
    assert str(failure) == "no credit (402)"
    capped = SpendingCapError("capped", lost=True).again("capped; once")
    assert (type(capped), str(capped), capped.lost) == (SpendingCapError, "capped; once", True)


def test_a_slow_provider_is_cut_off(run: RunGraph) -> None:
    class Slow(Shelf):
        async def search(self, query: str, limit: int) -> list[Page]:
            await asyncio.sleep(60)
            return []

    with pytest.raises(SearchError, match=r"did not answer within 0.2 s"):
        run(Slow("slow"), search_seconds=0.2)


def test_wrong_settings_and_input_fail_before_anything_runs(run: RunGraph, tiny_bytes: Path) -> None:
    for settings, sentence in (
        ({"query_strategy": "guess"}, "query_strategy: 'guess' is unknown; use one of keywords, llm, prompt, none"),
        ({"providers": ["bing"]}, "providers: 'bing' is unknown"),
        ({"pages": 0}, "pages: Input should be greater than or equal to 1"),
        ({"pagse": 3}, "pagse: there is no such field"),
        ({"rerank": True, "rerank_pool": 3}, "rerank_pool: 3 is fewer than pages"),
        ({"attention_layer": 99}, "attention_layer: 99 is outside the backbone"),
        ({"pooling_window": 2}, "pooling_window: it is even, so no token is its centre; give 1 or 3 (given: 2)"),
    ):
        with pytest.raises(ConfigurationError, match="^" + sentence[:10]) as caught:
            run(Shelf("one"), **settings)
        assert sentence in str(caught.value)
    graph = build_graph()
    with pytest.raises(InputError, match=r"candidates\[1\]"):
        graph.invoke({"history": ["a"], "candidates": ["b", "B "]}, context={"backbone": str(tiny_bytes)})  # type: ignore[arg-type]


def test_order_of_the_candidates_changes_no_score(tiny_bytes: Path) -> None:
    from webrec import recommend

    settings: dict[str, Any] = {"backbone": str(tiny_bytes), "retrieval": False}
    one = recommend(HISTORY, CANDIDATES, **settings)
    two = recommend(HISTORY, CANDIDATES[::-1], **settings)
    assert [(c.title, c.score) for c in one.ranking] == [(c.title, c.score) for c in two.ranking]
    assert one.prompt.text == two.prompt.text
    texts = {recommend(HISTORY, CANDIDATES, seed=s, **settings).prompt.text for s in range(8)}
    assert len(texts) > 1, "the seed orders the candidates"


def test_one_candidate_and_two_hundred(tiny_bytes: Path) -> None:
    from webrec import recommend

    for count in (1, 200):
        titles = [f"Thing {n}" for n in range(count)]
        result = recommend(HISTORY, titles, backbone=str(tiny_bytes), retrieval=False)
        assert sorted(c.index for c in result.ranking) == list(range(count))
        assert [c.rank for c in result.ranking] == list(range(1, count + 1))
        assert sum(c.probability for c in result.ranking) == pytest.approx(1)
        assert [c.score for c in result.ranking] == sorted((c.score for c in result.ranking), reverse=True)


def test_sync_calls_work_inside_an_event_loop_too(tiny_bytes: Path) -> None:
    from webrec import recommend

    async def inside() -> Recommendation:
        return recommend(HISTORY, CANDIDATES, backbone=str(tiny_bytes), retrieval=False)

    assert len(run_blocking(inside()).ranking) == 3


def test_sync_invoke_runs_the_async_search(tiny_bytes: Path) -> None:
    graph = build_graph(providers={"one": lambda _: Shelf("one")})
    result = graph.invoke(
        {"history": HISTORY, "candidates": CANDIDATES},  # type: ignore[arg-type]
        context={"backbone": str(tiny_bytes), "providers": ["one"], "language": "xx", "reasoning_tokens": 16},  # type: ignore[arg-type]
    )
    assert Recommendation.model_validate(result).retrieval == "found"
