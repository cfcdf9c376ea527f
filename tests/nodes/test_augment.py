"""The prompt: order of the candidates, and what gives way when it does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webrec import InputError, Page, Recommendation, build_graph, recommend
from webrec.nodes.prompt import INSTRUCTION, prompt_order

HISTORY = ["Red boots", "Warm gloves"]
CANDIDATES = ["Wool scarf", "Garden hose"]


class Library:
    name = "library"
    query_limit: int | None = None

    def __init__(self, *lengths: int) -> None:
        self.lengths = lengths

    async def search(self, query: str, limit: int) -> list[Page]:
        return [
            Page(title=f"Page {n}", snippet=" ".join(f"w{n}x{i}" for i in range(length)), provider="library")
            for n, length in enumerate(self.lengths)
        ]


def run(tiny: Path, *lengths: int, **settings: Any) -> Recommendation:
    graph = build_graph(providers={"library": lambda _: Library(*lengths)})
    settings = {"backbone": str(tiny), "providers": ["library"], "query_strategy": "prompt", **settings}
    return recommend(HISTORY, CANDIDATES, graph=graph, **settings)


def test_everything_is_kept_where_it_fits(tiny_bytes: Path) -> None:
    result = run(tiny_bytes, 5, 50)
    assert [p.kept for p in result.pages] == [len(p.snippet) for p in result.pages]
    assert (result.prompt.pages_shortened, result.prompt.pages_dropped, result.warnings) == (0, 0, [])


def test_page_texts_are_shortened_evenly_and_nothing_else(tiny_bytes: Path) -> None:
    whole = run(tiny_bytes, 5, 300, 300)
    limit = whole.prompt.tokens - 400
    result = run(tiny_bytes, 5, 300, 300, prompt_tokens=limit)
    short, one, two = result.pages
    assert short.kept == len(short.snippet), "a page under the common length is left alone"
    assert 0 < one.kept < len(one.snippet)
    assert abs(one.kept - two.kept) <= 12, "the others get equally many tokens"
    assert result.prompt.tokens < limit
    assert result.prompt.tokens > limit - 60, "and no more is cut than needed"
    assert result.prompt.pages_shortened == 2
    assert result.warnings == [f"the prompt is limited to {limit:,} tokens: 2 pages were shortened, 0 left out"]
    for kept in (INSTRUCTION, *HISTORY, *CANDIDATES):
        assert kept in result.prompt.text
    assert one.snippet[: one.kept] in result.prompt.text
    assert one.snippet not in result.prompt.text


def test_pages_are_left_out_only_if_their_titles_do_not_fit(tiny_bytes: Path) -> None:
    bare = run(tiny_bytes, retrieval=False).prompt.tokens
    result = run(tiny_bytes, *[30] * 20, prompt_tokens=bare + 120, pages=20)
    assert 0 < len(result.pages) < 20
    assert result.prompt.pages_dropped == 20 - len(result.pages)
    assert [p.rank for p in result.pages] == list(range(1, len(result.pages) + 1))


def test_history_and_candidates_over_the_limit_are_refused(tiny_bytes: Path) -> None:
    with pytest.raises(InputError, match=r"history and candidates: they need .* tokens and .* fit"):
        run(tiny_bytes, retrieval=False, prompt_tokens=64)


def test_only_the_last_items_are_used(tiny_bytes: Path) -> None:
    history = [f"Item number {n}" for n in range(12)]
    result = recommend(history, CANDIDATES, backbone=str(tiny_bytes), retrieval=False, history_items=3)
    assert "A user has bought Item number 9; Item number 10; Item number 11 in the previous." in result.prompt.text
    assert result.prompt.history_used == 3


@given(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=8, unique=True), st.integers(0, 3), st.randoms())
def test_prompt_order_depends_on_texts_and_seed_alone(titles: list[str], seed: int, random: Any) -> None:
    shuffled = random.sample(titles, len(titles))
    one = [titles[i] for i in prompt_order(titles, seed)]
    two = [shuffled[i] for i in prompt_order(shuffled, seed)]
    from webrec.tools.text_safety import clean

    assert [clean(t) for t in one] == [clean(t) for t in two]
