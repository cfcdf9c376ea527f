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
from webrec.nodes.warnings import warn
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
        ("sift", {"settings": "none"}, "settings: they are no object"),
        ("augment", {"pages": [], "retrieval": "nonsense"}, "retrieval: 'nonsense' is unknown; use off, no_keywords"),
        ("score", {"prompt": {"text": "word " * 12_000}}, r"prompt: it has [\d,]+ tokens and [\d,]+ fit"),
    ],
)
def test_nonsense_is_one_sentence(backbone: str, node: str, values: dict[str, Any], says: str) -> None:
    world = World(backbone, node)
    world.begin()
    with pytest.raises(InputError, match=f"^{says}"):  # noqa: PT012 (an edge reads the keywords, a node the rest)
        world.edit(values, as_node={"search": "extract", "collect": "search"}.get(node))
        world.go_on()


def test_who_goes_back_and_searches_no_more_reads_no_old_page(backbone: str) -> None:
    world = World(backbone)
    world.begin()
    world.edit({"keywords": []}, as_node="extract")
    result = world.go_on()
    assert (result.retrieval, result.query, result.pages, result.searches) == ("no_keywords", "", [], [])
    assert "On scarves." not in result.prompt.text
    world = World(backbone)
    world.begin()
    world.edit({}, as_node="prepare")
    result = world.go_on(retrieval=False)
    assert (result.retrieval, result.query, result.pages, result.keywords) == ("off", "", [], [])
    assert "On scarves." not in result.prompt.text


def test_after_searches_that_failed_a_run_without_web_holds_nothing_of_them(backbone: str) -> None:
    world = World(backbone)
    for shelf in world.shelves.values():
        shelf.broken = True
    with pytest.raises(SearchError):
        world.begin()
    world.edit({}, as_node="prepare")
    result = world.go_on(retrieval=False)
    assert (result.retrieval, result.keywords, result.reasoning) == ("off", [], None)
    assert world.values["results"] == []


def test_two_nodes_may_say_the_same() -> None:
    state: Any = {"warnings": ["a", "a", "b"], "warned": {"one": ["a"], "two": ["a"]}}
    assert warn(state, "one", ["c"]) == {"warnings": ["a", "b", "c"], "warned": {"one": ["c"], "two": ["a"]}}


def test_a_warning_of_an_earlier_round_is_taken_back(backbone: str) -> None:
    world = World(backbone)
    world.shelves["one"].broken = True
    down = "one is down; the other providers' pages were used"
    assert world.begin(page_tokens=1)["warnings"][0] == down
    world.shelves["one"].broken = False
    world.edit({}, as_node="extract")
    result = world.go_on()
    assert down not in result.warnings
    assert len(result.warnings) == 1  # that pages were shortened, once
    world.edit({"warnings": [*world.values["warnings"], "Mine."]}, as_node="sift")
    assert world.go_on(page_tokens=None).warnings == ["Mine.", *world.values["warnings"][1:]]


WRITTEN: Any = {"query_strategy": "keywords", "reasoning_tokens": 8, "attention_layer": 0}


def test_another_reasoning_is_read_anew(backbone: str) -> None:
    world = World(backbone, "extract", providers=("one",))
    world.begin(**WRITTEN)
    own = world.values["reasoning"]
    text = "Likes warm woollen scarves."
    reads = []
    for edited in (text, {"text": text}, {**own, "text": text}, {**own, "text": text, "tokens": own["tokens"][:2]}):
        world.edit({"reasoning": edited}, as_node="reason")
        reads.append(world.go_on())
        world.edit({}, as_node="prepare")
        world.graph.invoke(None, THREAD)
    for result in reads:
        assert result.reasoning is not None
        assert result.reasoning.text == text
        assert [text[t.start : t.end] for t in result.reasoning.tokens if t.start < t.end]
        assert all(t.attention is not None and t.entropy > 0 for t in result.reasoning.tokens)
        assert result.keywords == reads[0].keywords
        assert set(result.keywords) <= set(text.strip(".").split())
    world.edit({}, as_node="reason")
    untouched = world.go_on()
    assert untouched.reasoning is not None
    assert [t.id for t in untouched.reasoning.tokens] == [t["id"] for t in own["tokens"]]
    assert [t.entropy for t in untouched.reasoning.tokens] == [t["entropy"] for t in own["tokens"]]


@pytest.mark.parametrize(
    ("edited", "says"),
    [
        (["a"], "reasoning: it is no object; give one with text"),
        ({"tokens": []}, r"reasoning\.text: "),
        ({"text": "a", "tokens": "b"}, r"reasoning\.tokens: "),
    ],
)
def test_a_reasoning_that_is_none_is_one_sentence(backbone: str, edited: Any, says: str) -> None:
    world = World(backbone, "extract", providers=("one",))
    world.begin(**WRITTEN)
    world.edit({"reasoning": edited})
    with pytest.raises(InputError, match=f"^{says}"):
        world.go_on()


def test_tokens_that_the_backbone_does_not_have_are_read_anew(backbone: str) -> None:
    world = World(backbone, "extract", providers=("one",))
    world.begin(**WRITTEN)
    own = world.values["reasoning"]
    world.edit({"reasoning": {**own, "tokens": [{**own["tokens"][0], "id": 10**9}]}})
    result = world.go_on()
    assert result.reasoning is not None
    assert all(token.id < 10**6 for token in result.reasoning.tokens)


def test_keywords_as_one_text_are_its_words(backbone: str) -> None:
    world = World(backbone, "search", providers=("one",))
    world.begin()
    world.edit({"keywords": "warm  wool"}, as_node="extract")
    result = world.go_on()
    assert world.shelves["one"].queries == ["warm wool"]
    assert (result.query, result.keywords) == ("warm wool", ["warm", "wool"])
    world = World(backbone, "score", providers=("one",))
    world.begin()
    world.edit({"keywords": "quiet film"})
    assert world.go_on().keywords == ["quiet", "film"], "whichever node comes next"
    with pytest.raises(InputError, match=r"^keywords: they are no texts; give a list of words$"):
        world.edit({"keywords": 3})


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
