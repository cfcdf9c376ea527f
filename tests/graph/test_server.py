"""`langgraph dev` as people use it: schemas with help texts, every path through the SDK, the MCP endpoint, no blocking call."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_client

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
REQUEST = {"history": ["Red boots", "Warm gloves"], "candidates": ["Wool scarf", "Garden hose"]}
NODES = {"prepare", "reason", "extract", "search", "collect", "fetch", "sift", "rerank", "augment", "score", "fuse"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A running `langgraph dev` on loopback (without --allow-blocking) and its log file."""
    folder = tmp_path_factory.mktemp("studio")
    shutil.copy(ROOT / "langgraph.json", folder)
    (folder / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text("utf-8"), "utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "log"
    quiet = {"LANGGRAPH_CLI_NO_ANALYTICS": "1", "LANGGRAPH_NO_VERSION_CHECK": "true", "LANGSMITH_TRACING": "false"}
    command = [str(Path(sys.executable).with_name("langgraph")), "dev", "--no-browser", "--no-reload"]
    command += ["--port", str(port), "--n-jobs-per-worker", "4"]
    with log.open("w") as sink:
        process = subprocess.Popen(command, cwd=folder, stdout=sink, stderr=sink, env={**os.environ, **quiet})
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            assert process.poll() is None, log.read_text("utf-8")
            try:
                urllib.request.urlopen(f"{url}/ok", timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield url, log
    finally:
        process.terminate()
        process.wait(30)


async def test_the_graph_and_its_schemas(server: tuple[str, Path]) -> None:
    client = get_client(url=server[0])
    (assistant,) = await client.assistants.search()
    graph = await client.assistants.get_graph(assistant["assistant_id"])
    assert {str(n["id"]) for n in graph["nodes"]} == NODES | {"__start__", "__end__"}
    conditional = {(e["source"], e["target"]) for e in graph["edges"] if e.get("conditional")}
    assert conditional == {
        ("prepare", "reason"),
        ("prepare", "extract"),
        ("prepare", "augment"),
        ("extract", "search"),
        ("extract", "augment"),
        ("collect", "search"),
        ("collect", "fetch"),
        ("collect", "sift"),
        ("collect", "augment"),
        ("sift", "rerank"),
        ("sift", "augment"),
        ("score", "fuse"),
        ("score", "__end__"),
    }
    schemas = await client.assistants.get_schemas(assistant["assistant_id"])
    for name in ("input_schema", "context_schema"):
        properties = schemas[name]["properties"]  # type: ignore[literal-required]
        assert properties
        assert all(p.get("description") for p in properties.values()), name
    assert schemas["context_schema"]["properties"]["pages"]["default"] == 10  # type: ignore[index]


PATHS: list[tuple[dict[str, Any], list[str], str]] = [
    ({}, ["prepare", "reason", "extract", "search", "collect", "augment", "score"], "any"),
    ({"retrieval": False}, ["prepare", "augment", "score"], "off"),
    ({"query_strategy": "prompt"}, ["prepare", "extract", "search", "collect", "sift", "augment", "score"], "found"),
    (
        {"query_strategy": "prompt", "rerank": True, "pages": 3},
        ["prepare", "extract", "search", "collect", "sift", "rerank", "augment", "score"],
        "found",
    ),
    ({"reasoning_tokens": 0}, ["prepare", "reason", "extract", "augment", "score"], "no_keywords"),
]


@pytest.mark.parametrize(("settings", "expected", "retrieval"), PATHS)
async def test_paths_and_states(
    server: tuple[str, Path],
    tiny_bytes: Path,
    tmp_path: Path,
    settings: dict[str, Any],
    expected: list[str],
    retrieval: str,
) -> None:
    page = {"title": "Boots", "text": "A user has bought red boots and warm gloves for the next winter."}
    (tmp_path / "pages.jsonl").write_text(json.dumps(page), "utf-8")
    context = {
        "backbone": str(tiny_bytes),
        "providers": ["local"],
        "pages_path": str(tmp_path),
        "language": "xx",
        **settings,
    }
    client = get_client(url=server[0])
    thread = await client.threads.create()
    started, final = [], {}
    async for part in client.runs.stream(
        thread["thread_id"], "webrec", input=REQUEST, context=context, stream_mode=["custom", "values"]
    ):
        assert "__error__" not in (part.data or {}), part.data
        assert part.event != "error", part.data
        if part.event == "custom" and part.data["event"] == "started":
            started.append(part.data["node"])
        if part.event == "values":
            final = part.data
    assert started == expected
    assert final["retrieval"] == retrieval or retrieval == "any"
    assert len(final["ranking"]) == 2


async def test_no_page_found_is_a_state(server: tuple[str, Path], tiny_bytes: Path, tmp_path: Path) -> None:
    (tmp_path / "pages.jsonl").write_text(json.dumps({"title": "x", "text": "zebra"}), "utf-8")
    context = {"backbone": str(tiny_bytes), "pages_path": str(tmp_path), "language": "xx", "query_strategy": "prompt"}
    client = get_client(url=server[0])
    result: Any = await client.runs.wait(None, "webrec", input=REQUEST, context=context)
    assert result["retrieval"] == "no_pages"


async def test_bad_input_is_a_clear_error(server: tuple[str, Path], tiny_bytes: Path) -> None:
    client = get_client(url=server[0])
    result: Any = await client.runs.wait(
        None,
        "webrec",
        input={"history": ["a"], "candidates": ["b", "b"]},
        context={"backbone": str(tiny_bytes), "retrieval": False},
        raise_error=False,
    )
    assert result["__error__"]["error"] == "InputError"
    assert "candidates[1]: 'b' is the same title" in result["__error__"]["message"]


async def test_an_mcp_client_lists_and_calls_the_recommender(
    server: tuple[str, Path], tiny_bytes: Path, tmp_path: Path
) -> None:
    from mcp import ClientSession
    from mcp.client.streamable_http import streamablehttp_client

    client = get_client(url=server[0])
    (assistant,) = await client.assistants.search()
    context = {"backbone": str(tiny_bytes), "retrieval": False}
    await client.assistants.update(assistant["assistant_id"], context=context)
    async with (
        streamablehttp_client(f"{server[0]}/mcp/") as (read, write, _),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        (tool,) = (await session.list_tools()).tools
        assert tool.name == "webrec"
        assert "Ranks candidate items for one user" in str(tool.description)
        assert all(tool.inputSchema["properties"][f]["description"] for f in ("history", "candidates"))
        answer = await session.call_tool(tool.name, REQUEST)
        assert not answer.isError, answer
        assert "Wool scarf" in answer.content[0].text  # type: ignore[union-attr]


def test_nothing_blocked_the_event_loop(server: tuple[str, Path]) -> None:
    log = server[1].read_text("utf-8")
    assert "webrec" in log
    assert "Blocking" not in log, log[log.index("Blocking") - 500 :][:2000]
