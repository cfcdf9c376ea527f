"""The embedded index: what it reads, finds and refuses."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path

import pytest

from webrec.errors import ConfigurationError
from webrec.tools.page import Page
from webrec.tools.providers import local_index
from webrec.tools.providers.local_index import LocalIndex


def search(path: Path, query: str, limit: int = 10) -> list[Page]:
    return asyncio.run(LocalIndex(path).search(query, limit))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pages = [
        {
            "title": "Dry skin",
            "text": "A gentle cream for dry skin.",
            "url": "https://a.example/",
            "published": "2020-01-01",
        },
        {"title": "Boats", "text": "A wooden boat dries slowly in the sun."},
    ]
    (tmp_path / "one.jsonl").write_text("\n".join(json.dumps(p) for p in pages) + "\n\n", "utf-8")
    with gzip.open(tmp_path / "two.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write(json.dumps({"title": "Cream tea", "text": "Scones with cream, served dry or not."}))
    (tmp_path / "three.md").write_text("# Gentle dogs\nA gentle dog needs a dry bed.", "utf-8")
    (tmp_path / "ignored.bin").write_bytes(b"gentle dry cream")
    return tmp_path


def test_finds_in_every_kind_of_file_best_first(folder: Path) -> None:
    pages = search(folder, "gentle dry cream")
    assert pages[0] == Page(
        title="Dry skin",
        snippet="A gentle cream for dry skin.",
        url="https://a.example/",
        provider="local",
        score=pages[0].score,
        time="2020-01-01",
    )
    assert {p.title for p in pages} == {"Dry skin", "Cream tea", "Gentle dogs"}
    scores = [p.score or 0 for p in pages]
    assert scores == sorted(scores, reverse=True)
    assert len(search(folder, "gentle dry cream", limit=1)) == 1


def test_one_shared_word_is_no_match_for_a_longer_query(folder: Path) -> None:
    assert [p.title for p in search(folder, "boat")] == ["Boats"]
    assert search(folder, "boat engine propeller") == []
    assert search(folder, "drying boats")[0].title == "Boats", "inflections match"
    assert search(folder, "dries drying") == search(folder, "dry"), "and count once"


def test_queries_are_words_never_syntax(folder: Path) -> None:
    for query in ('title:boat AND "', "boat -wooden", "[* TO *]", "((", "", "   ", "*", "\x00"):
        search(folder, query)
    assert search(folder, "boat NOT wooden") != []


def test_a_changed_file_is_read_again(folder: Path) -> None:
    assert search(folder, "zeppelin") == []
    (folder / "new.txt").write_text("Zeppelin\nIt floats.", "utf-8")
    assert [p.title for p in search(folder, "zeppelin")] == ["Zeppelin"]


def test_what_is_no_page_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"pages_path: .* does not exist"):
        LocalIndex(tmp_path / "missing")
    with pytest.raises(ConfigurationError, match="holds no page"):
        LocalIndex(tmp_path)
    (tmp_path / "bad.jsonl").write_text('{"title": "a", "text": "b"}\n{"title": 1}\n', "utf-8")
    with pytest.raises(ConfigurationError, match=r"line 2 of bad\.jsonl is not a page"):
        search(tmp_path, "word")


def test_a_page_with_half_a_character_is_read(tmp_path: Path) -> None:
    (tmp_path / "odd.jsonl").write_text('{"title": "a \\ud83d b", "text": "hello \\ud83d world"}\n', "utf-8")
    assert [page.snippet for page in search(tmp_path, "hello world")] == ["hello \ufffd world"]


@pytest.mark.parametrize("data", [gzip.compress(b'{"title": "a", "text": "b"}\n' * 1_000)[:-20], b"no gzip", b""])
def test_a_damaged_archive_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "bad.jsonl.gz").write_bytes(data)
    if not data:
        assert search(tmp_path, "word") == []
        return
    with pytest.raises(ConfigurationError, match=r"pages_path: bad\.jsonl\.gz is damaged"):
        search(tmp_path, "word")


def test_byte_order_marks_are_no_part_of_a_page(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("Amélie\nA quiet film of Paris.", "utf-8-sig")
    line = json.dumps({"title": "Alien", "text": "A loud film of space."})
    (tmp_path / "two.jsonl").write_text(f"{line}\n", "utf-8-sig")
    (tmp_path / "three.jsonl.gz").write_bytes(gzip.compress(f"{line}\n".encode("utf-8-sig")))
    assert [page.title for page in search(tmp_path, "quiet film")] == ["Amélie"]
    assert [page.title for page in search(tmp_path, "loud film")] == ["Alien", "Alien"]


@pytest.mark.parametrize(
    ("name", "data", "where"),
    [
        ("a.txt", "Amélie\nA film.".encode("latin-1"), r"a\.txt"),
        ("a.md", "# Amélie".encode("utf-16"), r"a\.md"),
        ("a.jsonl", '{"title": "Amélie", "text": "A film."}\n'.encode("latin-1"), r"a\.jsonl"),
        (
            "a.jsonl.gz",
            gzip.compress(b'{"text": "one"}\n' * 9_999 + b'{"text": "\xe9"}\n'),
            r"a\.jsonl\.gz, after line \d+,",
        ),
    ],
)
def test_text_that_is_not_utf8_is_refused(tmp_path: Path, name: str, data: bytes, where: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ConfigurationError, match=rf"^pages_path: {where} is not UTF-8 text; save it as UTF-8$"):
        search(tmp_path, "word")


@pytest.mark.parametrize("name", ["pages.json", "pages.html", "pages", "pages.txt.gz"])
def test_a_file_of_another_kind_is_refused_before_it_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("Boats\nA wooden boat.", "utf-8")
    with pytest.raises(
        ConfigurationError, match=r"is of an unknown kind; .* ends with \.jsonl, \.jsonl\.gz, \.txt, \.md$"
    ):
        LocalIndex(tmp_path / name)
    with pytest.raises(ConfigurationError, match="is of an unknown kind"):
        next(local_index.read_pages(tmp_path / name))


def test_a_file_alone_may_spell_its_ending_in_capitals(tmp_path: Path) -> None:
    (tmp_path / "ONE.JSONL").write_text(json.dumps({"title": "Boats", "text": "A boat."}), "utf-8")
    (tmp_path / "TWO.TXT").write_text("Boats\nA boat.", "utf-8")
    for name in ("ONE.JSONL", "TWO.TXT"):
        assert [page.title for page in search(tmp_path / name, "boat")] == ["Boats"]


@pytest.fixture
def kept(folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Indexes are kept on disk here, and nothing is held in memory between searches."""
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("WEBREC_CACHE", str(cache))
    monkeypatch.setattr(local_index, "KEPT_BYTES", 0)
    monkeypatch.setattr(local_index, "_indexes", {})
    return cache / "indexes"


def indexes(kept: Path) -> set[str]:
    return {path.name for path in kept.iterdir() if path.is_dir()}


def test_a_large_index_is_kept_and_found_again(folder: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = search(folder, "gentle dry cream")
    (name,) = indexes(kept)
    built = (kept / name / "meta.json").stat().st_mtime_ns
    local_index._indexes.clear()
    assert search(folder, "gentle dry cream") == first
    assert (kept / name / "meta.json").stat().st_mtime_ns == built
    monkeypatch.setattr(local_index, "KEPT_BYTES", 10**9)
    local_index._indexes.clear()
    assert search(folder, "gentle dry cream") == first, "as one in memory"


def test_a_kept_index_is_not_used_for_changed_pages(folder: Path, kept: Path) -> None:
    assert search(folder, "zeppelin") == []
    (folder / "new.txt").write_text("Zeppelin\nIt floats.", "utf-8")
    assert [p.title for p in search(folder, "zeppelin")] == ["Zeppelin"]
    assert len(indexes(kept)) == 2


def test_a_damaged_kept_index_is_built_again(folder: Path, kept: Path) -> None:
    first = search(folder, "gentle dry cream")
    (name,) = indexes(kept)
    next((kept / name).glob("*.store")).unlink()
    local_index._indexes.clear()
    assert search(folder, "gentle dry cream") == first


def test_pages_that_cannot_be_read_leave_no_index(folder: Path, kept: Path) -> None:
    (folder / "bad.jsonl").write_text('{"title": 1}\n', "utf-8")
    with pytest.raises(ConfigurationError, match=r"bad\.jsonl is not a page"):
        search(folder, "word")
    assert indexes(kept) == set()
