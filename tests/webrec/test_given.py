"""What Python programs have at hand: paths, dates, columns of titles, a context, async listeners."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import webrec
from webrec.given import context_of, listed

HISTORY = ["Red boots", "Warm gloves"]
CANDIDATES = ["Wool scarf", "Garden hose"]


def test_paths_and_dates_are_settings(tmp_path: Path) -> None:
    names = ("backbone", "adapter", "pages_path", "search_store", "rerank_model", "crowd")
    context = context_of(None, {**dict.fromkeys(names, tmp_path), "pages_before": date(2014, 3, 1)})
    assert {getattr(context, name) for name in names} == {str(tmp_path)}
    assert context.pages_before == "2014-03-01"
    time = datetime(2014, 3, 1, 12, tzinfo=UTC)
    assert context_of(None, {"pages_before": time}).pages_before == "2014-03-01T12:00:00+00:00"


def test_a_backbone_is_loaded_from_a_path(tiny_bytes: Path) -> None:
    result = webrec.recommend(HISTORY, CANDIDATES, backbone=tiny_bytes, retrieval=False, pages_before=date(2014, 3, 1))
    assert result.settings["backbone"] == str(tiny_bytes)
    assert result.settings["pages_before"] == "2014-03-01"


@pytest.mark.parametrize(
    "titles",
    [
        tuple(HISTORY),
        dict.fromkeys(HISTORY).keys(),
        dict(enumerate(HISTORY)).values(),
        iter(HISTORY),
        (title for title in HISTORY),
        np.array(HISTORY),
        np.array(HISTORY, dtype=object),
    ],
    ids=lambda titles: type(titles).__name__,
)
def test_any_iterable_of_titles_is_a_list(titles: Any) -> None:
    assert listed(titles, ordered=True) == HISTORY


def test_a_column_of_a_table_is_a_list() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"title": HISTORY}, index=["x", "y"])
    assert listed(frame["title"], ordered=True) == HISTORY
    assert listed(frame) is frame, "its columns' names are no titles"


def test_columns_are_ranked(tiny_bytes: Path) -> None:
    result = webrec.recommend(np.array(HISTORY), dict.fromkeys(CANDIDATES).keys(), backbone=tiny_bytes, retrieval=False)
    assert {type(c.title) for c in result.ranking} == {str}
    assert webrec.Recommendation.model_validate_json(result.model_dump_json()) == result


@pytest.mark.parametrize(
    "titles",
    ["text", b"bytes", {"a": 1}, 3, None, np.array("a"), np.array([["a"], ["b"]])],
    ids=lambda titles: type(titles).__name__,
)
def test_what_is_no_list_of_titles_stays(titles: Any) -> None:
    assert listed(titles) is titles


def test_a_set_has_no_order() -> None:
    assert sorted(listed(set(CANDIDATES))) == sorted(CANDIDATES)
    with pytest.raises(webrec.InputError, match="history: it is not a list"):
        webrec.recommend(set(HISTORY), CANDIDATES, retrieval=False)


def test_settings_win_over_a_context(tiny_bytes: Path) -> None:
    context = webrec.RunContext(backbone=str(tiny_bytes), retrieval=False, seed=3, history_items=2)
    assert context_of(context, {}) is context
    result = webrec.recommend(HISTORY, CANDIDATES, context=context, seed=4)
    assert (result.settings["seed"], result.settings["history_items"]) == (4, 2)
    assert (context.seed, result.retrieval) == (3, "off")


async def test_many_users_and_tools_take_a_context(settings: dict[str, Any], graph: Any) -> None:
    context = webrec.RunContext(**settings, seed=3)
    many = webrec.arecommend_many([(HISTORY, CANDIDATES)], context=context, graph=graph, history_items=1)
    async for _, result in many:
        assert (result.settings["seed"], result.settings["history_items"]) == (3, 1)
    tool = webrec.as_tool(context=context, graph=graph, history_items=1)
    call = {"name": tool.name, "args": {"history": HISTORY, "candidates": CANDIDATES}, "id": "1", "type": "tool_call"}
    answered = webrec.Recommendation.model_validate((await tool.ainvoke(call)).artifact)
    assert (answered.settings["seed"], answered.settings["history_items"]) == (3, 1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"context": {"seed": 3}}, "context: it is dict, not a RunContext; give one, or the settings by name"),
        ({"context": webrec.RunContext(), "sed": 3}, "sed: there is no such field"),
        ({"providers": []}, "providers: none is named; name at least one, or turn retrieval off"),
        ({"providers": " , "}, "providers: none is named"),
    ],
)
def test_wrong_settings_are_one_sentence(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(webrec.ConfigurationError, match=f"^{says}"):
        webrec.recommend(HISTORY, CANDIDATES, **arguments)


def test_an_async_listener_is_awaited(tiny_bytes: Path) -> None:
    heard: list[str] = []

    async def listen(event: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        heard.append(f"{event['node']} {event['event']}")

    webrec.recommend(HISTORY, CANDIDATES, backbone=tiny_bytes, retrieval=False, on_progress=listen)
    assert heard[0] == "prepare started"
    assert heard[-1] == "score finished"


async def test_an_async_listener_of_many_is_awaited(tiny_bytes: Path) -> None:
    heard: set[int] = set()

    async def listen(place: int, _: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        heard.add(place)

    requests = [(HISTORY, CANDIDATES)] * 2
    many = webrec.arecommend_many(requests, backbone=tiny_bytes, retrieval=False, on_progress=listen)
    assert sorted([place async for place, _ in many]) == sorted(heard) == [0, 1]
