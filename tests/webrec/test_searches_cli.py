"""`webrec searches`: info, export, import, prune."""

from __future__ import annotations

import gzip
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from webrec.cli.main import main
from webrec.tools.fetching.fetched_page import FetchedPage
from webrec.tools.searching import ledger, records
from webrec.tools.searching.limits import Limits
from webrec.tools.searching.records import Record, search_key, utc
from webrec.tools.searching.store import SearchStore

PAGE = FetchedPage("https://a.example/", "https://a.example/", "fetched", text="A page.")


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(main, ["searches", *map(str, arguments)])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with a search of today, one of ten days ago, a page, and three calls."""
    store = SearchStore(tmp_path / "s")
    now = time.time()
    for query, age in (("new", 0), ("old", 10)):
        page = {"title": query, "provider": "tavily"}
        record = Record("search", search_key("tavily", query, 5, {}), [page], utc(now - age * 86_400), "tavily", 1, 1.0)
        store.run_now(lambda c, r=record: records.put(c, r), write=True)
    store.run_now(lambda c: records.put(c, Record("page", PAGE.url, asdict(PAGE), utc(now))), write=True)
    for number, outcome in enumerate(("answered", "failed", "lost")):
        call = ledger.Call(str(number), "tavily", "k", "o", 2.0)
        store.run_now(lambda c, b=call: ledger.book(c, b, Limits(0, None, None, 0.25, "day"), now), write=True)
        store.run_now(lambda c, n=number, o=outcome: ledger.settle(c, str(n), o), write=True)
    store.close()
    return tmp_path / "s"


def test_info(path: Path) -> None:
    done = run("info", "--search-store", path)
    assert done.exit_code == 0, done.output
    assert "searches, tavily                     2" in done.output
    assert "fetched pages                        1" in done.output
    (row,) = [line.split() for line in done.output.splitlines() if "in all" in line]
    assert row == ["tavily", "in", "all", "3", "1", "1", "1", "4", "1"]
    facts = json.loads(run("info", "--search-store", path, "--json").output)
    assert [r["count"] for r in facts["records"]] == [1, 2]
    assert facts["calls"][0] | {"period": ""} == {
        "provider": "tavily", "period": "", "calls": 3, "answered": 1, "failed": 1, "lost": 1, "cost_units": 4.0, "spend": 1.0,
    }  # fmt: skip


def test_export_import_and_prune(path: Path, tmp_path: Path) -> None:
    file, other = tmp_path / "out.jsonl.gz", tmp_path / "other"
    today = utc(time.time())[:10]
    assert run("export", file, "--search-store", path).output.startswith("3 records written")
    assert run("import", file, "--search-store", other).output.startswith("3 new records, 0 newer")
    assert run("import", file, "--search-store", other).output.startswith(
        "0 new records, 0 newer than those held, 3 held"
    )
    assert run("export", file, "--search-store", path, "--since", today).output.startswith("2 records")
    assert run("export", file, "--search-store", path, "--provider", "brave").output.startswith("1 records")
    assert run("prune", "--search-store", path, "--older-than", 7).output == "1 records forgotten\n"
    assert "searches, tavily                     1" in run("info", "--search-store", path).output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["import", "{}/missing.gz"], "missing.gz: it cannot be read"),
        (["import", "{}/text.gz"], "text.gz: it is damaged or is no gzip file"),
        (["info", "--search-store", "{}/none"], "does not exist"),
        (["info", "--search-store", "{}/text.gz"], "is not a search store"),
        (["export", "{}/no/folder.gz", "--search-store", "{}/s"], "folder.gz: it cannot be written"),
        (["export", "{}/f.gz", "--search-store", "{}/s", "--since", "yesterday"], "--since: 'yesterday' is no date"),
        (["prune", "--search-store", "{}/none", "--older-than", "3"], "does not exist"),
    ],
)
def test_bad_input_is_one_sentence_and_code_2(path: Path, tmp_path: Path, arguments: list[str], says: str) -> None:
    (tmp_path / "text.gz").write_text("text, but long enough to be looked at " * 9)
    done = run(*(a.format(tmp_path) for a in arguments))
    assert done.exit_code == 2, done.output
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("content", [b'{"users": 12}', b"", None])
def test_an_export_replaces_only_exports(path: Path, tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "out.json"
    if content is None:
        assert run("export", file, "--search-store", path, "--since", "2100-01-01").exit_code == 0
        file.write_bytes(file.read_bytes()[:-20])  # cut off, but ours
    else:
        file.write_bytes(content)
    before = file.read_bytes()
    done = run("export", file, "--search-store", path)
    if content:
        assert (done.exit_code, file.read_bytes()) == (2, before)
        assert "out.json: it exists and is no export of webrec searches; name another file" in done.stderr
    else:
        assert done.output.startswith("3 records written"), done.output


def test_no_archive_of_somebody_is_replaced(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "pages.jsonl.gz"
    file.write_bytes(gzip.compress(b'{"title": "mine"}\n'))
    done = run("export", file, "--search-store", path)
    assert (done.exit_code, gzip.decompress(file.read_bytes())) == (2, b'{"title": "mine"}\n')
