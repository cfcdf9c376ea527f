"""What queries as a language model writes them find in the sample web."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from webrec.tools.providers.local_index import LocalIndex
from webrec.tools.sample_web import pages_path

EXAMPLES_FOLDER = Path(__file__).parents[2] / "src" / "webrec" / "examples"
EXAMPLES = {
    name: json.loads((EXAMPLES_FOLDER / f"{name}.json").read_text("utf-8"))
    for name in ("paper", "films", "games", "no_page")
}
PAGES: dict[str, dict[str, Any]] = {
    page["title"]: page for page in (json.loads(line) for line in pages_path().read_text("utf-8").split("\n") if line)
}
QUERIES = {
    "paper": "seeking skincare product achieve multi-faceted includes enhance skin's natural barrier",
    "films": "user enjoys Lost Translation 2003 classic game genre Park enjoy",
    "games": "game Animal Crossing features game's ability create virtual reality unique",
}
DOMAIN_OF = {"paper": "skincare", "films": "films", "games": "games"}
NO_PAGE_QUERY = "1-2 popular choice military key modern 2-3 Zigbee 4G upgrade"


def found(query: str) -> list[dict[str, Any]]:
    """The pages of the sample web among the ten best for `query`."""
    index = LocalIndex(pages_path(), name="sample")
    return [PAGES[page.title] for page in asyncio.run(index.search(query, 10))]


@pytest.mark.parametrize("name", QUERIES)
def test_taste_query_finds_pages_of_its_domain(name: str) -> None:
    pages = found(QUERIES[name])
    assert len(pages) >= 5
    assert sum(page["domain"] == DOMAIN_OF[name] for page in pages) > len(pages) / 2


@pytest.mark.parametrize("name", QUERIES)
def test_taste_query_finds_fitting_items_and_others(name: str) -> None:
    example = EXAMPLES[name]
    fitting = {*example["history"], example["target"]}
    unfitting = set(example["candidates"]) - fitting
    pages = found(QUERIES[name])
    assert sum(bool(fitting & set(page["about"])) for page in pages) >= 2
    assert sum(bool(unfitting & set(page["about"])) or page["kind"] == "guide" for page in pages) >= 2


@pytest.mark.parametrize("query", [NO_PAGE_QUERY, *EXAMPLES["no_page"]["history"], *EXAMPLES["no_page"]["candidates"]])
def test_no_page_example_finds_none(query: str) -> None:
    assert found(query) == []
