"""Checkpoints: kill, resume, edit, fork. What is finished is not computed again."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.sqlite import SqliteSaver

from webrec.errors import SearchError
from webrec.graph.build import build_graph
from webrec.nodes.schema import Recommendation
from webrec.tools.page import Page

REQUEST: Any = {"history": ["Red boots", "Warm gloves"], "candidates": ["Wool scarf", "Garden hose"]}


class OnePage:
    name = "one"
    query_limit: int | None = None

    def __init__(self) -> None:
        self.queries: list[str] = []
        self.broken = False

    async def search(self, query: str, limit: int) -> list[Page]:
        self.queries.append(query)
        if self.broken:
            raise SearchError("one is down")
        return [Page(title="A page", snippet="On scarves.", provider="one")]


@pytest.fixture
def saver(tmp_path: Path) -> Iterator[SqliteSaver]:
    with SqliteSaver.from_conn_string(str(tmp_path / "state.sqlite")) as held:
        yield held


@pytest.fixture
def settings(tiny_bytes: Path) -> Any:
    return {"backbone": str(tiny_bytes), "providers": ["one"], "language": "xx", "reasoning_tokens": 16}


def test_interrupt_edit_the_keywords_resume(saver: SqliteSaver, settings: Any) -> None:
    provider = OnePage()
    graph = build_graph(providers={"one": lambda _: provider}, checkpointer=saver, interrupt_before=["search"])
    thread: Any = {"configurable": {"thread_id": "t"}}
    graph.invoke(REQUEST, thread, context=settings)
    assert graph.get_state(thread).next == ("search",)
    assert not provider.queries
    graph.update_state(thread, {"keywords": ["warm", "wool"]}, as_node="extract")
    result = Recommendation.model_validate(graph.invoke(None, thread))  # keeps the settings it began with
    assert provider.queries == ["warm wool"]
    assert result.query == "warm wool"
    assert result.settings["reasoning_tokens"] == 16
    assert result.warnings == []


def test_settings_changed_on_the_way_are_told(saver: SqliteSaver, settings: Any) -> None:
    graph = build_graph(providers={"one": lambda _: OnePage()}, checkpointer=saver, interrupt_before=["augment"])
    thread: Any = {"configurable": {"thread_id": "t"}}
    graph.invoke(REQUEST, thread, context=settings)
    result = Recommendation.model_validate(graph.invoke(None, thread, context={**settings, "score_by": "sum"}))
    assert result.settings["score_by"] == "sum"
    assert result.warnings == ["these settings were changed after the run had begun: score_by"]


def test_fork_a_past_run(saver: SqliteSaver, settings: Any) -> None:
    provider = OnePage()
    graph = build_graph(providers={"one": lambda _: provider}, checkpointer=saver)
    thread: Any = {"configurable": {"thread_id": "t"}}
    first = Recommendation.model_validate(graph.invoke(REQUEST, thread, context=settings))
    before_search = next(s for s in graph.get_state_history(thread) if s.next == ("search",))
    fork = graph.update_state(before_search.config, {"keywords": ["other"]}, as_node="extract")
    forked = Recommendation.model_validate(graph.invoke(None, fork, context=settings))
    assert forked.reasoning == first.reasoning
    assert (forked.query, len(forked.searches), len(forked.pages)) == ("other", 1, 1)
    assert provider.queries == [first.query, "other"]


def test_a_second_run_on_a_thread_starts_clean(saver: SqliteSaver, settings: Any) -> None:
    graph = build_graph(providers={"one": lambda _: OnePage()}, checkpointer=saver)
    thread: Any = {"configurable": {"thread_id": "t"}}
    one = graph.invoke(REQUEST, thread, context=settings)
    two = graph.invoke(REQUEST, thread, context=settings)
    for result in (one, two):
        for search in result["searches"]:
            search.pop("waited")  # how busy the machine was
    assert one == two
    off = Recommendation.model_validate(graph.invoke(REQUEST, thread, context={**settings, "retrieval": False}))
    assert (off.retrieval, off.query, off.keywords, off.pages, off.searches) == ("off", "", [], [], [])


def test_a_failed_search_is_asked_again_on_resume(saver: SqliteSaver, settings: Any) -> None:
    provider = OnePage()
    graph = build_graph(providers={"one": lambda _: provider}, checkpointer=saver)
    thread: Any = {"configurable": {"thread_id": "t"}}
    provider.broken = True
    with pytest.raises(SearchError, match="one is down"):
        graph.invoke(REQUEST, thread, context=settings)
    provider.broken = False
    result = Recommendation.model_validate(graph.invoke(None, thread, context=settings))
    assert result.retrieval == "found"
    assert len(provider.queries) == 2


def test_the_state_holds_plain_values(saver: SqliteSaver, settings: Any) -> None:
    graph = build_graph(providers={"one": lambda _: OnePage()}, checkpointer=saver)
    thread: Any = {"configurable": {"thread_id": "t"}}
    graph.invoke(REQUEST, thread, context=settings)

    def plain(value: Any) -> bool:
        if isinstance(value, dict):
            return all(isinstance(k, str) and plain(v) for k, v in value.items())
        if isinstance(value, list):
            return all(plain(v) for v in value)
        return value is None or type(value) in {str, int, float, bool}

    values = graph.get_state(thread).values
    assert {k for k, v in values.items() if not plain(v)} == set()


_KILLED_RUN = """
import os, signal, sys, time
from pathlib import Path
from langgraph.checkpoint.sqlite import SqliteSaver
from webrec.graph.build import NODES, build_graph
from webrec.tools.page import Page

folder, backbone = Path(sys.argv[1]), sys.argv[2]

class Shelf:
    query_limit = None
    def __init__(self, name): self.name = name
    async def search(self, query, limit):
        return [Page(title=self.name, snippet="text", provider=self.name)]

def note(file, line):
    with (folder / file).open("a") as f:
        f.write(line + "\\n"); f.flush(); os.fsync(f.fileno())

def die_once(mark):
    marks = (folder / "killed").read_text().split() if (folder / "killed").exists() else []
    if mark not in marks:
        note("killed", mark)
        os.kill(os.getpid(), signal.SIGKILL)

def counted(name, function):
    def call(state, run):
        die_once(name)
        update = function(state, run)
        note("finished", name)
        return update
    async def call_async(task, run):
        if task["provider"] == "a":
            die_once("search")
        else:
            # The other search is finished and saved by now; only this one is lost.
            while "search:a" not in (folder / "finished").read_text(): time.sleep(0.01)
            time.sleep(0.5)
            die_once("search:b")
        update = await function(task, run)
        note("finished", f"search:{task['provider']}")
        return update
    return call_async if name == "search" else call

with SqliteSaver.from_conn_string(str(folder / "state.sqlite")) as saver:
    graph = build_graph(
        nodes={name: counted(name, f) for name, f in NODES.items()},
        providers={n: (lambda _, n=n: Shelf(n)) for n in "ab"},
        checkpointer=saver,
    )
    thread = {"configurable": {"thread_id": "t"}}
    started = bool(saver.get(thread))
    request = None if started else {"history": ["Red boots"], "candidates": ["Wool scarf", "Garden hose"]}
    context = {"backbone": backbone, "providers": ["a", "b"], "language": "xx", "reasoning_tokens": 16}
    result = graph.invoke(request, thread, context=context, durability="sync")
    print(len(result["ranking"]), len(result["pages"]))
"""


@pytest.mark.slow
def test_killed_between_all_nodes_no_finished_node_runs_again(tmp_path: Path, tiny_bytes: Path) -> None:
    (tmp_path / "finished").touch()
    kills = 0
    for _ in range(20):
        command = [sys.executable, "-c", _KILLED_RUN, str(tmp_path), str(tiny_bytes)]
        done = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, "LANGGRAPH_STRICT_MSGPACK": "true"}
        )
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        kills += 1
    assert done.stdout.split() == ["2", "2"]
    assert kills == 9, "prepare, reason, extract, search (twice), collect, sift, augment, score; the others are off"
    finished = Counter((tmp_path / "finished").read_text().split())
    expected = {"prepare", "reason", "extract", "search:a", "search:b", "collect", "sift", "augment", "score"}
    assert finished == dict.fromkeys(expected, 1)
    with sqlite3.connect(tmp_path / "state.sqlite") as connection:
        assert connection.execute("select count(*) from checkpoints").fetchone()[0] > 0


def test_settings_given_as_nothing_are_not_given(saver: SqliteSaver, settings: Any) -> None:
    """As a server hands on a resumption without settings."""
    graph = build_graph(providers={"one": lambda _: OnePage()}, checkpointer=saver, interrupt_before=["search"])
    thread: Any = {"configurable": {"thread_id": "t"}}
    graph.invoke(REQUEST, thread, context=settings)
    result = Recommendation.model_validate(graph.invoke(None, thread, context={}))
    assert result.settings["reasoning_tokens"] == 16
    assert result.warnings == []


def test_other_providers_on_the_way(saver: SqliteSaver, settings: Any) -> None:
    """What was sent out already is answered by those it was sent to."""
    providers = {"one": lambda _: OnePage(), "two": lambda _: OnePage()}
    graph = build_graph(providers=providers, checkpointer=saver, interrupt_before=["collect"])
    thread: Any = {"configurable": {"thread_id": "t"}}
    graph.invoke(REQUEST, thread, context=settings)
    result = Recommendation.model_validate(graph.invoke(None, thread, context={**settings, "providers": ["two"]}))
    assert [s.provider for s in result.searches] == ["one"]
    assert len(result.pages) == 1
