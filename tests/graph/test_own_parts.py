"""Nodes, providers and strategies of somebody's own: what works, and what is refused in one sentence where it is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from webrec import ConfigurationError, Page, QueryStrategy, Recommendation, build_graph, recommend

WORDS = QueryStrategy(keywords=lambda user, written, picked: ["wool"])


class Shelf:
    name = "shelf"
    query_limit: int | None = None

    async def search(self, query: str, limit: int) -> list[Page]:
        return [Page(title=f"Page {n}", snippet=f"Scarf {n} of {query}.", provider="shelf") for n in range(limit)]


def run(
    tiny: Path, graph: Any = None, /, *, nodes: Any = None, strategy: Any = WORDS, **settings: Any
) -> Recommendation:
    graph = graph or build_graph(
        nodes=nodes, providers={"shelf": lambda _: Shelf()}, query_strategies={"own": strategy}
    )
    settings = {"backbone": str(tiny), "providers": ["shelf"], "query_strategy": "own", **settings}
    return recommend(["Red boots"], ["Wool scarf", "Garden hose"], graph=graph, near_duplicates=False, **settings)


def test_an_own_rerank_that_keeps_all_leaves_as_many_as_are_wanted(tiny_bytes: Path) -> None:
    def backwards(state: Any, run: Any) -> dict[str, Any]:
        return {"pages": state["pages"][::-1]}

    result = run(tiny_bytes, nodes={"rerank": backwards}, rerank=True, rerank_pool=30, pages=2)
    assert [(page.title, page.rank) for page in result.pages] == [("Page 29", 1), ("Page 28", 2)]
    assert "Page 27" not in result.prompt.text
    assert result.prompt.pages_dropped == 0
    assert result.warnings == ["2 pages reach the prompt (setting pages): 28 more were left out"]


async def nothing_later(state: Any, run: Any) -> None: ...


@pytest.mark.parametrize("nothing", [lambda state, run: None, nothing_later, lambda state, run: {}])
def test_a_node_may_change_nothing(tiny_bytes: Path, nothing: Any) -> None:
    result = run(tiny_bytes, nodes={"rerank": nothing}, rerank=True, rerank_pool=3, pages=3)
    assert [page.title for page in result.pages] == ["Page 0", "Page 1", "Page 2"]


def test_a_node_may_give_the_whole_state(tiny_bytes: Path) -> None:
    result = run(tiny_bytes, nodes={"rerank": lambda state, run: {**state}}, rerank=True, rerank_pool=3, pages=3)
    assert len(result.pages) == 3


async def typo_later(state: Any, run: Any) -> dict[str, Any]:
    return {"pagse": []}


@pytest.mark.parametrize("typo", [lambda state, run: {"pages": [], "pagse": []}, typo_later])
def test_an_update_of_what_the_state_does_not_have_is_refused(tiny_bytes: Path, typo: Any) -> None:
    says = "^nodes: rerank gave 'pagse', which the state does not have; give only history, candidates, reasoning, "
    with pytest.raises(ConfigurationError, match=says):
        run(tiny_bytes, nodes={"rerank": typo}, rerank=True)
    graph: Any = build_graph(nodes={"prepare": typo})
    with pytest.raises(ConfigurationError, match=r"^nodes: prepare gave 'pagse'"):
        graph.invoke({"history": ["a"], "candidates": ["b"]}, context={"backbone": str(tiny_bytes)})


@pytest.mark.parametrize(
    ("given", "words"), [("quiet  film", ["quiet", "film"]), (["quiet film"], ["quiet film"]), ("", []), ([], [])]
)
def test_keywords_of_a_strategy_may_be_a_text(tiny_bytes: Path, given: Any, words: list[str]) -> None:
    result = run(tiny_bytes, strategy=QueryStrategy(keywords=lambda user, written, picked: given))
    assert result.keywords == words
    assert result.query == " ".join(words)
    assert result.retrieval == ("found" if words else "no_keywords")


@pytest.mark.parametrize(
    ("given", "what"), [(None, "NoneType"), (("a", "b"), "tuple"), ([1], "a list with something else"), ({}, "dict")]
)
@pytest.mark.parametrize("question", [None, lambda user: "What is wool?"])
@pytest.mark.parametrize("reads_tokens", [True, False])
def test_what_are_no_keywords_is_one_sentence(
    tiny_bytes: Path, given: Any, what: str, question: Any, reads_tokens: bool
) -> None:
    strategy = QueryStrategy(lambda user, written, picked: given, question, reads_tokens)
    with pytest.raises(
        ConfigurationError, match=f"^query_strategy: keywords of 'own' gave {what}; give a list of words"
    ):
        run(tiny_bytes, strategy=strategy, reasoning_tokens=4)


def test_a_question_that_is_no_text_is_one_sentence(tiny_bytes: Path) -> None:
    unasked: Any = lambda user: ["What?"]  # noqa: E731
    strategy = QueryStrategy(lambda user, written, picked: ["a"], unasked)
    with pytest.raises(ConfigurationError, match=r"^query_strategy: question of 'own' gave list; give a text"):
        run(tiny_bytes, strategy=strategy)


class Duck:
    """What a strategy does, without being one."""

    question, reads_tokens = None, False

    def keywords(self, user: Any, written: str, picked: list[str]) -> list[str]:
        return ["wool"]


def test_what_does_what_a_strategy_does_is_one(tiny_bytes: Path) -> None:
    assert run(tiny_bytes, strategy=Duck()).query == "wool"


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"nodes": {"rerank": 3}}, r"nodes: 'rerank' \(int\) cannot be called with state and run; "),
        (
            {"nodes": {"rerank": lambda state: {}}},
            r"nodes: 'rerank' \(function\) cannot be called with state and run; ",
        ),
        ({"nodes": {"rank": lambda state, run: {}}}, "nodes: 'rank' is unknown; replace one of prepare, "),
        (
            {"providers": {"own": Shelf()}},
            r"providers: 'own' \(Shelf\) cannot be called with the settings; give a function",
        ),
        ({"providers": {"own": Shelf}}, r"providers: 'own' \(type\) cannot be called with the settings; "),
        (
            {"providers": {"own": lambda: Shelf()}},
            r"providers: 'own' \(function\) cannot be called with the settings; ",
        ),
        (
            {"query_strategies": {"own": lambda user, text, picked: []}},
            r"query_strategies: 'own' \(function\) is no strategy; give a QueryStrategy\(keywords=function\)",
        ),
        ({"query_strategies": {"own": QueryStrategy}}, r"query_strategies: 'own' \(type\) is no strategy; "),
        (
            {"query_strategies": {"own": QueryStrategy(lambda user: [])}},  # type: ignore[arg-type, misc]
            "query_strategies: keywords of 'own' cannot be called with user, text and picked words; ",
        ),
        (
            {"query_strategies": {"own": QueryStrategy(WORDS.keywords, "What?")}},  # type: ignore[arg-type]
            "query_strategies: question of 'own' cannot be called with the user; ",
        ),
    ],
)
def test_what_cannot_be_a_part_is_refused_when_the_graph_is_built(parts: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{says}"):
        build_graph(**parts)


def test_a_provider_that_lacks_something_is_told_before_anything_is_computed(tiny_bytes: Path) -> None:
    class Unlimited:
        name = "own"

        async def search(self, query: str, limit: int) -> list[Page]:
            return []

    unlimited: Any = Unlimited()
    graph = build_graph(providers={"own": lambda _: unlimited})
    with pytest.raises(
        ConfigurationError, match=r"^providers: the factory of 'own' made Unlimited without query_limit; "
    ):
        run(tiny_bytes, graph, providers=["own"], query_strategy="prompt", backbone="/no/such/folder")


@pytest.mark.parametrize("wrong", ["sync", "dicts"])
def test_a_search_that_gives_no_pages_is_one_sentence(tiny_bytes: Path, wrong: str) -> None:
    class Sync(Shelf):
        def search(self, query: str, limit: int) -> Any:
            return []

    class Dicts(Shelf):
        async def search(self, query: str, limit: int) -> Any:
            return [{"title": "a", "provider": "shelf"}]

    graph = build_graph(providers={"shelf": lambda _: Sync() if wrong == "sync" else Dicts()})
    with pytest.raises(ConfigurationError, match=r"^providers: search of shelf gave "):
        run(tiny_bytes, graph, query_strategy="prompt")
