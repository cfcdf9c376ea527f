"""What is refused before anything is searched for, and paid for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from webrec import InputError, Page, build_graph, recommend
from webrec.nodes import prepare

HISTORY = ["Red boots", "Warm gloves"]
MANY = [f"A scarf of fine wool for the winter, number {n}" for n in range(500)]


class Counted:
    name = "counted"
    query_limit: int | None = None

    def __init__(self) -> None:
        self.asked = 0

    async def search(self, query: str, limit: int) -> list[Page]:
        self.asked += 1
        return []


def run(tiny: Path, provider: Counted, candidates: list[str], **options: Any) -> Any:
    graph = build_graph(providers={"counted": lambda _: provider}, nodes=options.pop("nodes", None))
    settings = {"backbone": str(tiny), "providers": ["counted"], "query_strategy": "prompt", **options}
    return recommend(HISTORY, candidates, graph=graph, **settings)


@pytest.mark.parametrize("settings", [{}, {"prompt_tokens": 100}, {"crowd_weight": 1.0, "prompt_tokens": 64}])
def test_titles_that_do_not_fit_are_told_before_a_search(tiny_bytes: Path, settings: dict[str, Any]) -> None:
    provider = Counted()
    with pytest.raises(InputError, match=r"^history and candidates: they need [\d,]+ tokens and [\d,]+ fit; "):
        run(tiny_bytes, provider, MANY, **settings)
    assert provider.asked == 0


def test_the_form_of_the_prompt_counts(tiny_bytes: Path) -> None:
    """The one that names no candidate has room for any number of them."""
    provider = Counted()
    assert len(run(tiny_bytes, provider, MANY, prompt_form="next").ranking) == len(MANY)
    assert provider.asked == 1


def test_a_prompt_of_somebody_s_own_is_theirs_to_fit(tiny_bytes: Path) -> None:
    def short(state: Any, run: Any) -> dict[str, Any]:
        return {"prompt": {"text": "Which scarf?"}}

    provider = Counted()
    result = run(tiny_bytes, provider, MANY, nodes={"augment": short})
    assert (result.prompt.text, provider.asked) == ("Which scarf?", 1)


def test_the_check_is_the_scorer_s(tiny_bytes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A soft prompt takes room: what is asked is the backbone with the adapter, with the limit that augment has."""
    asked = []

    def room(chat: Any, user: Any, limit: int, form: str) -> int:
        asked.append((len(user.candidates), limit, form))
        return limit

    monkeypatch.setattr(prepare, "prompt_room", room)
    run(tiny_bytes, Counted(), HISTORY, prompt_tokens=5_000)
    run(tiny_bytes, Counted(), HISTORY, prompt_tokens=50_000, retrieval=False)
    assert asked == [(2, 5_000, "request"), (2, 8_192, "request")]
