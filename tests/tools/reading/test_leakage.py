"""The leakage guard: every rule by hand, and a local index with planted pages of which none may come through."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from webrec.errors import ConfigurationError
from webrec.tools.config import LeakageConfig
from webrec.tools.page import Page
from webrec.tools.providers.local_index import LocalIndex
from webrec.tools.reading.aggregates import aggregates
from webrec.tools.reading.leakage import Counts, LeakageRules, admit, judge

TARGET = datetime(2014, 5, 5, tzinfo=UTC)


@dataclass(frozen=True)
class Record:
    title: str = "A page"
    body: str = "A quiet text about a lantern."
    time: str = "2014-05-04"
    authors: tuple[str, ...] = ()


def verdict(page: Record, **rules: object) -> str:
    return judge(page, LeakageRules(**{"user": "u1", "before": TARGET, **rules}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2014-05-04", "ok"),
        ("2014-05-05", "not_before"),
        ("2014-05-06", "not_before"),
        ("2014-05-04T23:59:59Z", "ok"),
        ("2014-05-04T23:59:59-01:00", "not_before"),
        ("2014-05-05T00:30:00+01:00", "ok"),
        ("2014-05-05T00:00:00Z", "not_before"),
        ("2014-04", "ok"),
        ("2014-05", "not_before"),
        ("2013", "ok"),
        ("2014", "not_before"),
        ("1399247999", "ok"),
        ("1399248000", "not_before"),
        ("May 4, 2014", "ok"),
        ("", "undated"),
        ("3 days ago", "undated"),
    ],
)
def test_strictly_before(time: str, expected: str) -> None:
    assert verdict(Record(time=time)) == expected


def test_a_target_with_a_time_of_day() -> None:
    noon = datetime(2014, 5, 5, 12, tzinfo=UTC)
    assert verdict(Record(time="2014-05-05"), before=noon) == "not_before"
    assert verdict(Record(time="2014-05-05T11:59:59Z"), before=noon) == "ok"
    assert verdict(Record(time="2014-05-05T12:00:00Z"), before=noon) == "not_before"
    assert verdict(Record(time="2014-05-05T11:59"), before=noon) == "ok"


def test_undated_pages_go_by_the_rules() -> None:
    assert verdict(Record(time=""), undated="admit") == "ok"
    assert verdict(Record(time=""), before=None) == "ok"
    assert verdict(Record(time="2099-01-01"), before=None) == "ok"


@pytest.mark.parametrize("author", ["u1", "U1", " u1 ", "u\u200b1", "ｕ1"])
def test_the_user_s_own_pages(author: str) -> None:
    assert verdict(Record(authors=("someone", author))) == "same_user"
    assert verdict(Record(authors=(author,)), user=None) == "ok"


def test_other_users_pages() -> None:
    assert verdict(Record(authors=("u10", "u", "xu1"))) == "ok"
    assert verdict(Record(body="u1 wrote this")) == "ok"


AGGREGATES = [
    ("Customers who bought this item also bought a hose.", "also_bought"),
    ("Customers who viewed this also viewed", "also_bought"),
    ("People also bought: boots", "also_bought"),
    ("Frequently bought together: two lamps", "also_bought"),
    ("What Other Items Do Customers Buy After Viewing This Item?", "also_bought"),
    ('"also_bought": ["B000"]', "also_bought"),
    ("Best Sellers Rank: #1,234 in Books", "sales_rank"),
    ("Amazon Best-Sellers Rank 12", "sales_rank"),
    ("Sales rank 99,120", "sales_rank"),
    ("#5 in Toys & Games", "sales_rank"),
    ("2K+ bought in past month", "sales_rank"),
    ("4.3 out of 5 stars", "average_rating"),
    ("Rated 4.3/5", "average_rating"),
    ("1,234 ratings", "average_rating"),
    ("12,345 global ratings", "average_rating"),
    ("87 customer reviews", "average_rating"),
    ("Average customer review: good", "average_rating"),
    ("Rating: 4.7", "average_rating"),
    ("an approval rating of 85% based on 120 reviews", "average_rating"),
    ("91% of critics liked it", "average_rating"),
]


@pytest.mark.parametrize(("text", "kind"), AGGREGATES)
def test_aggregates(text: str, kind: str) -> None:
    assert kind in aggregates(text)
    assert verdict(Record(body=f"A lantern. {text}")) == "aggregate"
    assert verdict(Record(title=text)) == "aggregate"
    assert verdict(Record(body=text), aggregates="admit") == "ok"


@pytest.mark.parametrize(
    "text",
    [
        "I bought this for my sister and also a lamp.",
        "I give it 4 out of 5 stars.",
        "A solid 8/10 from me, and I have seen 300 films.",
        "She was number 5 in the race of 1980, aged 12.5.",
        "The second edition has 1,234 pages and 4.3 kg.",
        "One of the best sellers of its day, it was rated R.",
        "He ranks his records. It costs 4.30 dollars.",
    ],
)
def test_a_reviewer_s_own_words_are_no_aggregate(text: str) -> None:
    assert aggregates(text) == ()


def test_counts_add_up() -> None:
    pages = [
        Record(),
        Record(time=""),
        Record(authors=("u2",)),
        Record(authors=("u1",)),
        Record(time="2015"),
        Record(body="1,234 ratings"),
        Record(authors=("u1",), time="2015", body="1,234 ratings"),
    ]
    kept, counts = admit(pages, LeakageRules("u1", TARGET, undated="admit"))
    assert kept == pages[:3]
    assert counts == Counts(3, 1, 2, same_user=2, not_before=1, undated=0, aggregate=1)
    assert counts.excluded == 4
    kept, counts = admit(pages, LeakageRules("u1", TARGET))
    assert kept == [pages[0], pages[2]]
    assert counts == Counts(2, 0, 1, same_user=2, not_before=1, undated=1, aggregate=1)
    assert admit([], LeakageRules(None, None)) == ([], Counts())


def test_rules_of_settings() -> None:
    config = LeakageConfig(pages_before="2014-05", undated_pages="admit", pages_not_by="u1", crawl_aggregates=False)
    assert LeakageRules.of(config) == LeakageRules("u1", datetime(2014, 5, 1, tzinfo=UTC), "admit", "exclude")
    assert LeakageRules.of(LeakageConfig()) == LeakageRules(None, None, "exclude", "admit")
    with pytest.raises(ConfigurationError, match=r"^pages_before: not a date"):
        LeakageRules.of(LeakageConfig(pages_before="05/06/2014"))
    with pytest.raises(ConfigurationError, match="no zone"):
        LeakageRules("u1", datetime(2014, 5, 5))


def test_planted_pages_do_not_come_through(tmp_path: Path) -> None:
    """All of them match the query; one only may be read."""
    words = "a brass lantern for the harbour"
    planted = [
        {"title": "Allowed", "text": words, "time": "2014-05-04"},
        {"title": "By the user", "text": words, "time": "2014-05-01", "author": "u1"},
        {"title": "Same day", "text": words, "time": "2014-05-05"},
        {"title": "Same day, Unix", "text": words, "time": str(int(TARGET.timestamp()))},
        {"title": "Later", "text": words, "time": "2018-10-02T12:00:00Z"},
        {"title": "Same month", "text": words, "time": "2014-05"},
        {"title": "Undated", "text": words},
        {"title": "Also bought", "text": f"{words}. Customers who bought this item also bought rope.", "time": "2013"},
        {"title": "Rank", "text": f"{words}. Best Sellers Rank: #1,234 in Garden", "time": "2013"},
        {"title": "Stars", "text": f"{words}. 4.3 out of 5 stars, 1,234 ratings", "time": "2013"},
    ]
    (tmp_path / "pages.jsonl").write_text("\n".join(map(json.dumps, planted)), "utf-8")
    found = asyncio.run(LocalIndex(tmp_path).search(words, 50))
    assert {page.title for page in found} == {page["title"] for page in planted}
    authors = {page["title"]: (page["author"],) if "author" in page else () for page in planted}

    def record(page: Page) -> Record:
        return Record(page.title, page.snippet, page.time, authors[page.title])

    kept, counts = admit(map(record, found), LeakageRules("u1", TARGET))
    assert [page.title for page in kept] == ["Allowed"]
    assert counts.excluded == len(planted) - 1
    kept, counts = admit(map(record, found), LeakageRules("u1", TARGET, undated="admit"))
    assert {page.title for page in kept} == {"Allowed", "Undated"}
    assert (counts.undated_admitted, counts.unsigned_admitted) == (1, 2)
