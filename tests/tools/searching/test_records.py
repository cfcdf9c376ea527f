"""Keys of recorded answers, and what is found again."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from webrec.tools.searching import records
from webrec.tools.searching.records import normalised_query, oldest_admitted, search_key, utc
from webrec.tools.searching.store import SearchStore


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Wool scarf", "  wool\t\nSCARF "),
        ("ｗｏｏｌ scarf", "wool scarf"),
        ("Straße", "STRASSE"),
        ("cafe\u0301", "café"),
        ("ﬁlm noir", "film noir"),
        ("wool\u200b scarf", "wool scarf"),
    ],
)
def test_equal_queries(one: str, other: str) -> None:
    assert search_key("brave", one, 10, {}) == search_key("brave", other, 10, {})


@pytest.mark.parametrize(
    "other",
    [
        ("tavily", "wool scarf", 10, {"depth": "basic"}),
        ("brave", "woolscarf", 10, {"depth": "basic"}),
        ("brave", "wool scarf", 11, {"depth": "basic"}),
        ("brave", "wool scarf", 10, {"depth": "advanced"}),
        ("brave", "wool scarf", 10, {}),
    ],
)
def test_everything_that_decides_the_answer_is_in_the_key(other: tuple[str, str, int, dict[str, str]]) -> None:
    assert search_key(*other) != search_key("brave", "wool scarf", 10, {"depth": "basic"})


def test_the_order_of_options_does_not_matter() -> None:
    assert search_key("b", "q", 1, {"x": 1, "y": True}) == search_key("b", "q", 1, {"y": True, "x": 1})


@settings(deadline=None)
@given(st.text())
@example("\u0345\u0308")
@example("´ a")
def test_normalising_twice_changes_nothing(query: str) -> None:
    once = normalised_query(query)
    assert normalised_query(once) == once
    assert unicodedata.is_normalized("NFKC", once)
    assert once == " ".join(once.split())
    assert normalised_query(f" {query}\n") == once


def test_ages() -> None:
    assert oldest_admitted(1e9, None) == "" == oldest_admitted(1e9, 1e9)
    assert utc(1e9 - 86_400) >= oldest_admitted(1e9, 1.0) > utc(1e9 - 86_401)


async def test_records_expire(store: SearchStore, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_700_000_000.0
    monkeypatch.setattr("webrec.tools.searching.store.time.time", lambda: now)
    put = await store.put("page", "https://a.example/", {"text": "A"})
    assert put.recorded == "2023-11-14T22:13:20.000000+00:00"
    now += 7 * 86_400
    assert await store.find("page", "https://a.example/", 7.0) == put
    now += 1
    assert await store.find("page", "https://a.example/", 7.0) is None
    assert await store.find("page", "https://a.example/") == put
    now -= 9 * 86_400  # a clock set back: what was recorded "later" is young
    assert await store.find("page", "https://a.example/", 1.0) == put


async def test_the_newest_answer_stays_and_kinds_are_apart(store: SearchStore) -> None:
    await store.put("page", "k", {"text": "old"})
    await store.put("page", "k", {"text": "new"})
    await store.put("search", "k", [1], provider="p")
    page, search = await store.find("page", "k"), await store.find("search", "k")
    assert page is not None
    assert search is not None
    assert (page.content, search.content, search.provider) == ({"text": "new"}, [1], "p")
    assert [(h.kind, h.count) for h in store.run_now(records.held)] == [("page", 1), ("search", 1)]


async def test_odd_keys_and_texts(store: SearchStore) -> None:
    odd = "nul \x00, half a pair \ud800, \U0001f9e3, \u202e"
    await store.put("page", odd, {"text": odd})
    found = await store.find("page", odd)
    assert found is not None
    assert found.content == {"text": odd}


async def test_pruning_forgets_records_but_not_what_was_spent(store: SearchStore) -> None:
    from webrec.tools.searching import ledger
    from webrec.tools.searching.ledger import Call
    from webrec.tools.searching.limits import Limits

    limits = Limits(0.0, None, None, 1.0, "forever")
    await store.put("page", "k", {})
    for call, state in (("a", "answered"), ("b", None)):
        booked = Call(call, "p", "k", "o", 1.0)
        await store.run(lambda c, b=booked: ledger.book(c, b, limits, 1e9), write=True)
        if state:
            await store.run(lambda c, i=call: ledger.settle(c, i, "answered"), write=True)
    assert await store.run(lambda c: records.prune(c, "9"), write=True) == 1
    assert await store.find("page", "k") is None
    assert store.run_now(lambda c: c.execute("SELECT id FROM calls").fetchall()) == [("b",)]
    assert [u.calls for u in store.run_now(lambda c: ledger.usage(c, 1e9))] == [2, 2, 2]
