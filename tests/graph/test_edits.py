"""What people change in a paused run: it takes effect, it is checked, and what is told of the run stays true."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from webrec.errors import ConfigurationError, InputError, SearchError
from webrec.graph.build import build_graph
from webrec.nodes.schema import Recommendation
from webrec.nodes.state import join_searches
from webrec.tools.page import Page

REQUEST: Any = {"history": ["Red boots", "Warm gloves"], "candidates": ["Wool scarf", "Garden hose"]}
THREAD: Any = {"configurable": {"thread_id": "t"}}


class Shelf:
    """Answers with one page that names the query; while `broken`, it fails."""

    query_limit: int | None = None

    def __init__(self, name: str) -> None:
        self.name, self.queries, self.broken = name, list[str](), False

    async def search(self, query: str, limit: int) -> list[Page]:
        self.queries.append(query)
        if self.broken:
            raise SearchError(f"{self.name} is down")
        return [Page(title=f"{self.name}: {query}", snippet="On scarves.", provider=self.name)]


class World:
    """A graph of two providers that pauses before `nodes`."""

    def __init__(self, backbone: str, *nodes: str, providers: tuple[str, ...] = ("one", "two")) -> None:
        self.shelves = {name: Shelf(name) for name in ("one", "two")}
        self.graph = build_graph(
            providers={name: lambda _, shelf=shelf: shelf for name, shelf in self.shelves.items()},
            checkpointer=InMemorySaver(),
            interrupt_before=list(nodes),
        )
        self.settings: Any = {
            "backbone": backbone,
            "providers": list(providers),
            "query_strategy": "prompt",
            "near_duplicates": False,
            "dtype": "float32",
        }

    def begin(self, **settings: Any) -> dict[str, Any]:
        return self.graph.invoke(REQUEST, THREAD, context={**self.settings, **settings})

    def edit(self, values: dict[str, Any], as_node: str | None = None) -> None:
        self.graph.update_state(THREAD, values, as_node=as_node)

    def go_on(self, **settings: Any) -> Recommendation:
        return Recommendation.model_validate(self.graph.invoke(None, THREAD, context=settings or None))

    @property
    def values(self) -> dict[str, Any]:
        return self.graph.get_state(THREAD).values


@pytest.fixture
def backbone(tiny_bytes: Path) -> str:
    return str(tiny_bytes)


def test_the_newest_answer_of_each_provider_counts() -> None:
    def answer(provider: str, pages: int) -> dict[str, Any]:
        return {"outcome": {"provider": provider}, "pages": [{}] * pages}

    def told(held: list[dict[str, Any]]) -> list[tuple[str, int]]:
        return [(result["outcome"]["provider"], len(result["pages"])) for result in held]

    held = join_searches(join_searches([], [answer("one", 1)]), [answer("two", 2)])
    assert told(held) == [("one", 1), ("two", 2)]
    assert told(join_searches(held, [answer("one", 0)])) == [("two", 2), ("one", 0)]
    assert join_searches([], held) == held, "what a search found stays as it is"
    assert join_searches(held, None) == []


def test_other_keywords_after_the_search_leave_no_old_page(backbone: str) -> None:
    world = World(backbone, "augment")
    world.begin()
    world.edit({"keywords": ["other"]}, as_node="extract")
    world.graph.invoke(None, THREAD)  # to the next pause
    result = world.go_on()
    assert [page.title for page in result.pages] == ["one: other", "two: other"]
    assert [(search.provider, search.query) for search in result.searches] == [("one", "other"), ("two", "other")]


def test_what_a_search_found_can_be_edited(backbone: str) -> None:
    world = World(backbone, "collect")
    world.begin()
    less = [{**result, "pages": []} for result in world.values["results"] if result["outcome"]["provider"] == "one"]
    world.edit({"results": less}, as_node="search")
    result = world.go_on()
    assert [page.provider for page in result.pages] == ["two"]
    assert sorted(search.provider for search in result.searches) == ["one", "two"]
    assert all(len(shelf.queries) == 1 for shelf in world.shelves.values())


def test_a_run_whose_searches_all_failed_goes_on_once_they_answer(backbone: str) -> None:
    world = World(backbone)
    for shelf in world.shelves.values():
        shelf.broken = True
    with pytest.raises(SearchError, match="every search failed: one is down; two is down"):
        world.begin()
    for shelf in world.shelves.values():
        shelf.broken = False
    world.edit({}, as_node="extract")
    result = world.go_on()
    assert (result.retrieval, len(result.pages), result.warnings) == ("found", 2, [])


def test_a_fallback_answers_for_its_own_round_alone(backbone: str) -> None:
    world = World(backbone, providers=("one",))
    one, two = world.shelves["one"], world.shelves["two"]
    one.broken = True
    assert world.begin(fallback=["two"])["pages"][0]["provider"] == "two"
    world.edit({"keywords": ["other"]}, as_node="extract")
    result = world.go_on()
    assert [(page.provider, page.title) for page in result.pages] == [("two", "two: other")]
    assert [search.query for search in result.searches] == ["other", "other"]
    one.broken = False
    world.edit({"keywords": ["third"]}, as_node="extract")
    result = world.go_on()
    assert [(page.provider, page.title) for page in result.pages] == [("one", "one: third")]
    assert len(two.queries) == 2


def test_a_fallback_that_failed_too_is_asked_again(backbone: str) -> None:
    world = World(backbone, providers=("one",))
    for shelf in world.shelves.values():
        shelf.broken = True
    with pytest.raises(SearchError, match="every search failed"):
        world.begin(fallback=["two"])
    world.shelves["two"].broken = False
    world.edit({}, as_node="extract")
    assert [page.provider for page in world.go_on().pages] == ["two"]


def test_a_setting_that_is_no_more_keeps_no_run_from_going_on(backbone: str) -> None:
    world = World(backbone, "score")
    world.begin()
    world.edit({"settings": world.values["settings"] | {"of_an_older_version": 3}})
    assert "of_an_older_version" not in world.go_on().settings


def test_pages_taken_out_and_put_in_are_told(backbone: str) -> None:
    world = World(backbone, "augment")
    world.begin()
    world.edit({"pages": []})
    result = world.go_on()
    assert (result.retrieval, result.pages) == ("left_out", [])
    world = World(backbone, "augment")
    world.begin(retrieval=False)
    world.edit({"pages": [{"title": "Mine", "snippet": "Scarves are warm."}]})
    result = world.go_on()
    assert (result.retrieval, [(p.title, p.provider, p.rank) for p in result.pages]) == (
        "found",
        [("Mine", "edited", 1)],
    )
    assert "Scarves are warm." in result.prompt.text


@pytest.mark.parametrize(
    ("node", "values", "says"),
    [
        ("search", {"keywords": [None, 3]}, "keywords: "),
        ("collect", {"results": "none"}, "results: "),
        ("collect", {"results": [{"pages": []}]}, r"results\[0\]: "),
        ("collect", {"results": [{"outcome": {}, "pages": []}]}, r"results\[0\]: provider: "),
        ("collect", {"results": [{"outcome": {"provider": "one"}, "pages": [3]}]}, r"results\[0\]\.pages: "),
        ("sift", {"candidates": [None]}, r"candidates\[0\]: "),
        ("score", {"prompt": {"text": "x", "limit": "x"}}, r"prompt\.limit: "),
        ("augment", {"pages": "none"}, "pages: "),
        ("augment", {"pages": [{"title": "a", "snippet": 3}]}, r"pages\[0\]\.snippet: "),
        ("sift", {"pages": [{"title": None}]}, r"pages\[0\]\.title: "),
        ("score", {"candidates": []}, "candidates: it is empty"),
        ("augment", {"history": ["\u200b"]}, r"history\[0\]: "),
        ("score", {"prompt": {"tokens": 3}}, "prompt: it holds no text"),
        ("score", {"prompt": {"text": "word " * 12_000}}, r"prompt: it has [\d,]+ tokens and [\d,]+ fit"),
    ],
)
def test_nonsense_is_one_sentence(backbone: str, node: str, values: dict[str, Any], says: str) -> None:
    world = World(backbone, node)
    world.begin()
    with pytest.raises(InputError, match=f"^{says}"):  # noqa: PT012 (an edge reads the keywords, a node the rest)
        world.edit(values, as_node={"search": "extract", "collect": "search"}.get(node))
        world.go_on()


def test_keywords_as_one_text_are_its_words(backbone: str) -> None:
    world = World(backbone, "search", providers=("one",))
    world.begin()
    world.edit({"keywords": "warm  wool"}, as_node="extract")
    world.graph.invoke(None, THREAD)
    assert world.shelves["one"].queries == ["warm wool"]


def test_an_edited_prompt_is_what_is_told(backbone: str) -> None:
    world = World(backbone, "score")
    world.begin()
    before = world.values["prompt"]
    world.edit({"prompt": {"text": "Which is warm?"}})
    result = world.go_on()
    assert result.prompt.text == "Which is warm?"
    assert 0 < result.prompt.tokens < before["tokens"]


def test_one_setting_on_resuming_leaves_the_others(backbone: str) -> None:
    world = World(backbone, "score")
    world.begin(reasoning_tokens=7)
    result = world.go_on(score_by="sum")
    assert (result.settings["score_by"], result.settings["reasoning_tokens"]) == ("sum", 7)
    assert result.backbone.name == backbone
    assert result.warnings == ["these settings were changed after the run had begun: score_by"]


def test_a_new_run_on_a_thread_shows_nothing_of_the_last_one(backbone: str) -> None:
    world = World(backbone)
    world.begin()
    assert world.values["ranking"]
    for shelf in world.shelves.values():
        shelf.broken = True
    with pytest.raises(SearchError):
        world.begin()
    assert (world.values["ranking"], world.values["prompt"], world.values["head"]) == ([], {}, "none")


@pytest.mark.parametrize("wrong", [{"pages": "ten"}, {"pagse": 3}, {"pages": 0}])
def test_wrong_settings_of_a_graph_are_one_sentence(backbone: str, wrong: dict[str, Any]) -> None:
    world = World(backbone)
    with pytest.raises(ConfigurationError, match=f"^{next(iter(wrong))}: ") as failure:
        world.begin(**wrong)
    assert "\n" not in str(failure.value)
