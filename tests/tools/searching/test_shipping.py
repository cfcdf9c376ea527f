"""Export and import: everything comes back, and a damaged file changes nothing."""

from __future__ import annotations

import gzip
import hashlib
import json
import string
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from webrec.errors import InputError
from webrec.tools.fetching.fetched_page import FetchedPage
from webrec.tools.page import Page
from webrec.tools.searching import records, shipping
from webrec.tools.searching.records import Record, search_key
from webrec.tools.searching.shipping import Imported, check_export, export_records, import_records
from webrec.tools.searching.store import SearchStore
from webrec.tools.text_safety import clean

NOON = "2024-02-29T12:00:00.000000+00:00"
LATER = "2024-03-01T12:00:00.000000+00:00"


def search(query: str, time: str = NOON, provider: str = "p", **page: Any) -> Record:
    pages = [Page(provider=provider, **page).model_dump(mode="json")]
    return Record("search", search_key(provider, query, 10, {"a": 1}), pages, time, provider, 2, 1.0, 1)


def fill(store: SearchStore, *made: Record) -> None:
    for record in made:
        store.run_now(lambda c, r=record: records.put(c, r), write=True)


def fetched(url: str, text: str) -> Record:
    return Record("page", url, asdict(FetchedPage(url, url, "fetched", text=text)), NOON)


def held(store: SearchStore) -> list[Record]:
    return store.run_now(lambda c: list(records.all_since(c)))


def export(store: SearchStore, file: Path, *choice: Any) -> int:
    return store.run_now(lambda c: export_records(c, file, *choice))


def take_over(store: SearchStore, file: Path) -> Imported:
    return store.run_now(lambda c: import_records(c, file), write=True)


texts = st.text(st.characters() | st.sampled_from("\x00\ud800\u202e\u200b\n\r\u2028\U0001f9e3"))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(texts, texts, texts, st.floats()), max_size=5), st.dictionaries(texts, texts, max_size=3))
def test_everything_comes_back(rows: list[tuple[str, str, str, float]], pages: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        one, two = SearchStore(folder / "one"), SearchStore(folder / "two")
        made = [search(q, title=t, snippet=s, score=None if score != score else score) for q, t, s, score in rows]
        finite = [r for r in made if r.content[0]["score"] not in {float("inf"), -float("inf")}]
        fill(one, *finite, *(fetched(clean(url) or "u", clean(text)) for url, text in pages.items()))
        count = export(one, folder / "a.gz")
        assert count == check_export(folder / "a.gz") == len(held(one))
        assert take_over(two, folder / "a.gz") == Imported(new=count, newer=0, kept=0)
        assert held(two) == held(one)
        export(two, folder / "b.gz")
        assert (folder / "b.gz").read_bytes() == (folder / "a.gz").read_bytes()
        assert (folder / "a.gz").read_bytes()[4:8] == bytes(4)  # gzip's time of writing: none
        assert take_over(two, folder / "a.gz") == Imported(new=0, newer=0, kept=count)
        one.close()
        two.close()


def test_what_is_chosen(store: SearchStore, tmp_path: Path) -> None:
    page = Record("page", "https://a.example/", {"text": "A"}, NOON)
    fill(store, search("a"), search("b", LATER), search("c", provider="q"), page)
    file = tmp_path / "f.gz"
    assert [export(store, file, *choice) for choice in ((), ("p",), ("q",), (None, LATER), ("q", LATER))] == [
        4,
        3,
        2,
        1,
        0,
    ]


def test_the_newer_record_stays(store: SearchStore, tmp_path: Path) -> None:
    other = SearchStore(tmp_path / "other")
    fill(other, search("a", LATER, title="new"), search("b", NOON, title="old"), search("c"))
    fill(store, search("a", NOON, title="old"), search("b", LATER, title="new"))
    export(other, tmp_path / "f.gz")
    assert take_over(store, tmp_path / "f.gz") == Imported(new=1, newer=1, kept=1)
    assert [r.content[0]["title"] for r in held(store)] == ["new", "new", ""]
    other.close()


def lines_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]


def write(file: Path, lines: list[dict[str, Any]], *, sign: bool) -> None:
    if sign:
        body = "".join(json.dumps(line) + "\n" for line in lines[:-1])
        lines = [*lines[:-1], {"records": len(lines) - 2, "sha256": hashlib.sha256(body.encode()).hexdigest()}]
    file.write_bytes(gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode()))


def changed(line: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return line | changes


def page_line(**fields: Any) -> dict[str, Any]:
    url = "http://a.example"
    return {"kind": "page", "key": url, "content": {"url": url, "final_url": url, "status": "fetched"} | fields}


@pytest.mark.parametrize(
    ("damage", "sign", "says"),
    [
        (lambda f: [f[0], changed(f[1], recorded=LATER), *f[2:]], False, "damaged"),
        (lambda f: [f[0], *f[2:]], False, "damaged"),
        (lambda f: [f[0], f[2], f[1], f[3]], False, "damaged"),
        (lambda f: f[:-1], False, "damaged"),
        (lambda f: [*f, f[1]], False, "damaged"),
        (lambda f: [*f[:-1], changed(f[-1], records=7)], False, "damaged"),
        (lambda f: [changed(f[0], version=2), *f[1:]], True, "format is 2"),
        (lambda f: f[1:], True, "no file of recorded searches"),
        (lambda f: [{}], False, "no file of recorded searches"),
        (lambda f: [f[0], changed(f[1], kind="other"), *f[2:]], True, "line 2 is no record"),
        (lambda f: [f[0], f[1], changed(f[2], attempts="2"), f[3]], True, "line 3 is no record"),
        (lambda f: [f[0], changed(f[1], cost_units=float("nan")), *f[2:]], True, "line 2 is no record"),
        (lambda f: [f[0], changed(f[1], recorded="soon"), *f[2:]], True, "line 2 is no record"),
        (lambda f: [f[0], changed(f[1], content={"a": 1}), *f[2:]], True, "line 2 is no record"),
        (lambda f: [f[0], changed(f[1], provider="other"), *f[2:]], True, "line 2 is no record"),
        (lambda f: [f[0], changed(f[1], key="no JSON"), *f[2:]], True, "line 2 is no record"),
        (lambda f: [f[0], changed(f[1], kind="page"), *f[2:]], True, "line 2 is no record"),
        (lambda f: [f[0], changed(f[1], more=1), *f[2:]], True, "line 2 is no record"),
        (lambda f: [f[0], changed(f[1], recorded="0001-01-01T00:00:00+14:00"), *f[2:]], True, "line 2 is no record"),
        (lambda f: [f[0], changed(f[1], recorded="2999-01-01T00:00:00+00:00"), *f[2:]], True, "line 2 is no record"),
        (lambda f: [f[0], changed(f[1], key="[" * 100_000), *f[2:]], True, "line 2 is no record"),
        (lambda f: [f[0], changed(f[1], **page_line(status="odd")), *f[2:]], True, "line 2 is no record"),
        (lambda f: [f[0], changed(f[1], **page_line(bytes=float("nan"))), *f[2:]], True, "line 2 is no record"),
        (lambda f: [f[0], changed(f[1], **page_line(more=1)), *f[2:]], True, "line 2 is no record"),
        (lambda f: [f[0], changed(f[1], **page_line(url="http://b.example")), *f[2:]], True, "line 2 is no record"),
    ],
)
def test_a_damaged_file_changes_nothing(store: SearchStore, tmp_path: Path, damage: Any, sign: bool, says: str) -> None:
    other, file = SearchStore(tmp_path / "other"), tmp_path / "f.jsonl.gz"
    fill(other, search("a"), search("b"))
    export(other, file)
    other.close()
    write(file, lines_of(file), sign=True)
    check_export(file)  # so that what follows is refused for its damage alone
    write(file, damage(lines_of(file)), sign=sign)
    for refuse in (lambda: check_export(file), lambda: take_over(store, file)):
        with pytest.raises(InputError, match=rf"^f\.jsonl\.gz: .*{says}"):
            refuse()
    assert held(store) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-9],
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: b"text",
        lambda data: data[:40] + bytes(b ^ 255 for b in data[40:44]) + data[44:],
    ],
)
def test_damaged_bytes(store: SearchStore, tmp_path: Path, damage: Any) -> None:
    fill(store, search("a"))
    file = tmp_path / "f.gz"
    export(store, file)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(InputError, match=r"^f\.gz: "):
        check_export(file)


def test_foreign_text_is_cleaned_on_import(store: SearchStore, tmp_path: Path) -> None:
    file = tmp_path / "f.gz"
    fill(store, search("a"))
    export(store, file)
    lines = lines_of(file)
    lines[1]["content"] = [
        {"title": "a\x1b[31mb\u202e", "url": "file:///etc/passwd", "snippet": "x" * 9_000, "provider": "p"}
    ]
    write(file, lines, sign=True)
    other = SearchStore(tmp_path / "other")
    take_over(other, file)
    (page,) = held(other)[0].content
    assert (page["title"], page["url"], len(page["snippet"])) == ("ab", "", 2_000)
    other.close()


def test_a_foreign_page_is_cleaned_on_import(store: SearchStore, tmp_path: Path) -> None:
    file = tmp_path / "f.gz"
    fill(store, search("a"))
    export(store, file)
    lines = lines_of(file)
    hidden = {
        "title": "a\x1b]0;evil\x07b",
        "text": "c\u202ed" + "x" * 30_000,
        "final_url": "file:///etc/passwd",
        "time": "\u202e2014",
    }
    lines[1] |= page_line(**hidden)
    write(file, lines, sign=True)
    other = SearchStore(tmp_path / "other")
    take_over(other, file)
    page = held(other)[0].content
    assert (page["title"], page["text"][:2], len(page["text"])) == ("ab", "cd", 20_000)
    assert (page["url"], page["final_url"], page["time"]) == ("http://a.example", "", "2014")
    other.close()


def test_a_failed_export_leaves_the_old_file(
    store: SearchStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "f.gz"
    fill(store, search("a"))
    export(store, file)
    before = file.read_bytes()
    monkeypatch.setattr(shipping.records, "all_since", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(InputError, match="cannot be written"):
        export(store, file)
    assert file.read_bytes() == before
    assert [f.name for f in tmp_path.iterdir() if f.name.startswith(".f.gz")] == []
    with pytest.raises(InputError, match="cannot be written"):
        export(store, tmp_path / "no folder" / "f.gz")


def test_the_characters_of_keys_are_plain(store: SearchStore, tmp_path: Path) -> None:
    """A file that is shipped can be read by eye and by any tool."""
    fill(store, search("Öl 🧣"))
    export(store, tmp_path / "f.gz")
    text = gzip.decompress((tmp_path / "f.gz").read_bytes()).decode("ascii")
    assert set(text) <= set(string.printable)


def test_pages_that_another_provider_is_said_to_have_found_are_refused(store: SearchStore, tmp_path: Path) -> None:
    good = search("a", title="T")
    bad = Record(**{**asdict(good), "content": [{**good.content[0], "provider": "\x1b]0;owned\x07"}]})
    fill(store, bad)
    export(store, tmp_path / "out.jsonl.gz")
    with pytest.raises(InputError):
        store.run_now(lambda c: import_records(c, tmp_path / "out.jsonl.gz"), write=True)
