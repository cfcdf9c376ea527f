"""Where the store lies is looked up, but never in the event loop."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from webrec.nodes.context import RunContext
from webrec.tools.fetching.recorded import fetch_recorded
from webrec.tools.searching.searcher import ask

from .servers import SearchServer
from .worker import Loopback, Settings


async def test_a_relative_store_is_not_looked_up_in_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server for LangGraph refuses what blocks its loop, and asking the system for the working folder does."""
    monkeypatch.chdir(tmp_path)
    loop, getcwd = threading.current_thread(), os.getcwd

    def refuse() -> str:
        assert threading.current_thread() is not loop, "os.getcwd in the event loop"
        return getcwd()

    monkeypatch.setattr(os, "getcwd", refuse)
    with SearchServer() as server:
        answer = await ask(Loopback(server.port), "wool scarf", 2, Settings(search_store="relative.sqlite3"))
        (page,) = await fetch_recorded(["ftp://no.example"], RunContext(search_store="relative.sqlite3"))
    monkeypatch.undo()
    assert len(answer.pages) == 2
    assert page.status == "refused"
    assert (tmp_path / "relative.sqlite3").exists()
