"""Cleaning of foreign text."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webrec.tools.page import Page
from webrec.tools.text_safety import clean, normalised, safe_url


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07name", "name"),
        ("a\u202eb\u2066c\u2069", "abc"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("tag\U000e0041s", "tags"),
        ("two\n\n lines\t", "two lines"),
        ("nul\x00l", "null"),
        ("half \ud800", "half �"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("👩\u200d🚀", "👩\u200d🚀"),
        ("Avène 日本", "Avène 日本"),
    ],
)
def test_clean(text: str, expected: str) -> None:
    assert clean(text) == expected


@given(st.text(st.characters(), max_size=200), st.integers(1, 50))
def test_clean_leaves_nothing_invisible(text: str, limit: int) -> None:
    cleaned = clean(text, limit)
    assert len(cleaned) <= limit
    assert clean(cleaned) == cleaned
    assert all(c in "\u200c\u200d" or unicodedata.category(c) not in {"Cc", "Cf", "Cs"} for c in cleaned)


def test_normalised_titles_meet() -> None:
    assert normalised("Ｆｏｏ\u200b Bar") == normalised("foo bar ")
    assert normalised("foo") != normalised("food")


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "https://user:pass@host.example/",
        "https://host.example/\u202e",
        'https://host.example/"onload=',
        "//host.example/",
        "https://",
        "https://[",
        "https://host.example/" + "a" * 2000,
        "file:///etc/passwd",
        "",
    ],
)
def test_only_plain_addresses_are_kept(url: str) -> None:
    assert safe_url(url) == ""
    assert Page(url=url, provider="p").url == ""


def test_plain_addresses_are_kept() -> None:
    for url in ("https://host.example/a?b=c#d", "http://127.0.0.1:80/"):
        assert safe_url(url) == url
