"""Cleaning of foreign text."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webrec.tools.page import Page
from webrec.tools.text_safety import MARKS, clean, normalised, safe_url


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
        ("ig\u200dno\u200cre", "ignore"),
        ("\u200cword\u200d, \u200dword", "word, word"),
        ("میـ\u200c\u200c\u200dخواهم", "میـ\u200cخواهم"),
        ("क्\u200dष and क्\u200cष", "क्\u200dष and क्\u200cष"),
        ("保\u200d湿", "保湿"),
        ("❤\ufe0f\u200d🔥 1\ufe0f\u20e3 ☎\ufe0e", "❤\ufe0f\u200d🔥 1\ufe0f\u20e3 ☎\ufe0e"),
        ("👩🏽\u200d🚀 🏳\ufe0f\u200d🌈", "👩🏽\u200d🚀 🏳\ufe0f\u200d🌈"),
        ("葛\U000e0100城", "葛\U000e0100城"),
        ("a\ufe0fb\U000e0101c 🔥\ufe0f\ufe0f\U000e0154\ufe05", "abc 🔥\ufe0f"),
        ("ᠠ\u180b b\u180b", "ᠠ\u180b b"),
        ("hang\u3164ul\uffa0 fil\u115fler jo\u034fin", "hangul filler join"),
        ("braille\u2800space", "braille space"),
        ("Z" + "\u0336\u0351" * 9 + "o", "Z" + "\u0336\u0351" * 2 + "o"),
        ("ا" + "\u064b\u200d" * 9 + "ب", "ا" + "\u064b\u200d" * 4 + "ب"),
        ("Việt, שָׁלוֹם, น้ำ", "Việt, שָׁלוֹם, น้ำ"),
        ("tags \U000e0001\U000e0049\U000e0067\U000e007f!", "tags !"),
        ("Сyrillic С and full-width Ｃ", "Сyrillic С and full-width Ｃ"),
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


TRICKS = st.sampled_from(
    [
        *"aZ7 保आا🔥❤👩ᠠ",
        *"\u0300\u0336\u064b\u094d\u20e3\u200c\u200d\u200b\u202e\u2800\u3164\u034f\ufe0f\ufe0e\ufe00\ufe05",
    ]
)
MORE_TRICKS = st.sampled_from(["\u180b", "\U000e0100", "\U000e0041", "\U0001f3fd", "\x1b[1m", "\x00", "\n"])


@given(st.lists(TRICKS | MORE_TRICKS, max_size=30).map("".join), st.integers(1, 30))
def test_clean_needs_no_second_time(text: str, limit: int) -> None:
    for cleaned in (clean(text), clean(text, limit)):
        assert clean(cleaned) == cleaned
        assert not set(cleaned) & set("\u200b\u202e\u2800\u3164\u034f\ufe05\U000e0041\x00\n\x1b")
        assert not re.search("[\u200c\u200d]{2}|[\ufe00-\ufe0f\U000e0100]{2}", cleaned)
        runs = re.findall("[\u0300\u0336\u064b\u094d\u20e3\u200c\u200d]+", cleaned)
        assert all(len(run.replace("\u200c", "").replace("\u200d", "")) <= MARKS for run in runs)


@given(st.text(st.characters(codec="ascii")))
def test_the_short_way_for_plain_text_is_the_long_one(text: str) -> None:
    assert clean(text) == clean(text + "保")[:-1].rstrip()


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
