"""The pages of a data set: each at its own address, told apart from noise, at the share of noise that is asked for."""

from __future__ import annotations

import asyncio
import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from webrec.errors import ConfigurationError
from webrec.eval.data.dataset import Item
from webrec.eval.retrieval.config import CorpusConfig, PagesConfig
from webrec.eval.retrieval.corpus import Corpus, build_corpus, resolved_corpus
from webrec.tools.providers.local_index import LocalIndex
from webrec.tools.reading.leakage import LeakageRules, admit

ITEMS = {
    "a": Item("a", "Soap", "A soap of olive oil."),
    "b": Item("b", "Brush", None),
    "c": Item("c", "Towel", "A towel of linen."),
}


def write_pages(path: Path, pages: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(page) + "\n" for page in pages), encoding="utf-8")
    return path


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    own = [{"id": f"p{n}", "title": f"Page {n}", "text": f"About {n}.", "product": i} for n, i in enumerate("abbz")]
    noise = [{"title": f"Noise {n}", "text": "Hm.", "product": "a", "published": "2001-01-01"} for n in range(12)]
    matches = tmp_path / "matches.csv"
    with matches.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["page_id", "item_id"], ["p0", "c"], ["p9", "a"], ["p0", "b"], ["p0", "c"]])
    return {
        "own": write_pages(tmp_path / "Shop_Pages" / "pages.jsonl", own),
        "noise": write_pages(tmp_path / "usenet" / "pages.jsonl", noise),
        "matches": matches,
    }


def read(corpus: Corpus) -> list[dict[str, Any]]:
    return [json.loads(line) for line in corpus.path.read_text(encoding="utf-8").splitlines()]


def test_pages_descriptions_and_noise(files: dict[str, Path], tmp_path: Path) -> None:
    config = CorpusConfig(
        pages=(PagesConfig(path=files["own"], item_field="product"),),
        descriptions=True,
        noise=(PagesConfig(path=files["noise"]),),
    )
    corpus = build_corpus(config, ITEMS, tmp_path / "corpora")
    pages = read(corpus)
    assert len(pages) == len({page["url"] for page in pages}) == 4 + 2 + 12
    about = {page["title"]: corpus.about.get(page["url"], []) for page in pages}
    assert {title: about[title] for title in ("Page 0", "Page 1", "Page 3", "Soap", "Towel", "Noise 0")} == {
        "Page 0": ["a"],
        "Page 1": ["b"],
        "Page 3": [],  # about an item that is not there
        "Soap": ["a"],
        "Towel": ["c"],
        "Noise 0": [],  # whatever the file says: it is noise
    }
    assert corpus.pages_of() == {"a": 2, "b": 2, "c": 1}
    assert corpus.counts == {"about an item": 5, "about nothing known": 1, "noise": 12}
    assert pages[0]["url"] == "https://shop-pages.example/0"
    assert next(page for page in pages if page["title"] == "Noise 0")["published"] == "2001-01-01"


def test_matches_name_the_items(files: dict[str, Path], tmp_path: Path) -> None:
    config = CorpusConfig(pages=(PagesConfig(path=files["own"], matches=files["matches"]),))
    corpus = build_corpus(config, ITEMS, tmp_path / "corpora")
    assert {page["title"]: corpus.about.get(page["url"], []) for page in read(corpus)} == {
        "Page 0": ["c", "b"],  # a page can be about two of the same name
        "Page 1": [],
        "Page 2": [],
        "Page 3": [],
    }
    assert corpus.pages_of() == {"b": 1, "c": 1}
    assert set(corpus.texts_of()) == {"b", "c"}


def test_reviews_are_pages_that_say_who_wrote_them_and_when(tmp_path: Path) -> None:
    reviews = [
        {"user_id": "u1", "item_id": "a", "timestamp": 1627679830, "summary": "Soft", "text": "A good soap."},
        {"user_id": "u2", "item_id": "a", "timestamp": 1627938153, "summary": "Hard", "text": "A hard soap."},
        {"user_id": "u3", "item_id": "b", "timestamp": 1627938153, "summary": "Works well!", "text": None},
    ]
    path = write_pages(tmp_path / "shop_reviews" / "reviews.jsonl", reviews)
    fields = {"title_field": "summary", "time_field": "timestamp", "author_field": "user_id"}
    corpus = build_corpus(CorpusConfig(pages=(PagesConfig(path=path, **fields),)), ITEMS, tmp_path / "corpora")
    assert (corpus.signed, corpus.counts["about an item"]) == (2, 2)  # a rating alone is no page
    plain = build_corpus(CorpusConfig(pages=(PagesConfig(path=path),)), ITEMS, tmp_path / "corpora")
    assert (plain.signed, [page["title"] for page in read(plain)]) == (0, ["", ""])
    found = asyncio.run(LocalIndex(corpus.path).search("good hard soap", 10))
    assert {page.title for page in found} == {"Soft", "Hard"}
    rules = LeakageRules(user="u2", before=datetime(2021, 8, 2, 12, tzinfo=UTC))
    pages = [SimpleNamespace(title=p.title, body=p.snippet, time=p.time, authors=p.authors) for p in found]
    admitted, counts = admit(pages, rules)
    assert ([page.title for page in admitted], counts.same_user) == (["Soft"], 1)


@pytest.mark.parametrize(("share", "own", "noise"), [(0.0, 4, 0), (0.5, 4, 4), (0.75, 4, 12), (0.9, 1, 12)])
def test_the_share_of_noise(files: dict[str, Path], tmp_path: Path, share: float, own: int, noise: int) -> None:
    config = CorpusConfig(
        pages=(PagesConfig(path=files["own"], item_field="product"),),
        noise=(PagesConfig(path=files["noise"]),),
        noise_share=share,
    )
    pages = read(build_corpus(config, ITEMS, tmp_path / "corpora"))
    assert [sum(page["title"].startswith(kind) for page in pages) for kind in ("Page", "Noise")] == [own, noise]


def test_made_once_and_anew_when_anything_changes(files: dict[str, Path], tmp_path: Path) -> None:
    config = CorpusConfig(pages=(PagesConfig(path=files["own"], item_field="product"),), descriptions=True)
    first = build_corpus(config, ITEMS, tmp_path / "corpora")
    assert build_corpus(config, ITEMS, tmp_path / "corpora").path == first.path
    moved = write_pages(tmp_path / "Elsewhere" / "pages.jsonl", [json.loads(line) for line in files["own"].open()])
    same = CorpusConfig(pages=(PagesConfig(path=moved, item_field="product"),), descriptions=True)
    assert build_corpus(same, ITEMS, tmp_path / "corpora").digest == first.digest
    others = [
        build_corpus(config, {**ITEMS, "b": Item("b", "Brush", "New.")}, tmp_path / "corpora").digest,
        build_corpus(config.model_copy(update={"seed": 1}), ITEMS, tmp_path / "corpora").digest,
        build_corpus(CorpusConfig(pages=(PagesConfig(path=files["own"]),)), ITEMS, tmp_path / "corpora").digest,
    ]
    assert len({first.digest, *others}) == 4
    fewer = CorpusConfig(pages=(PagesConfig(path=files["own"], item_field="product"),))
    assert build_corpus(fewer, {"a": ITEMS["a"]}, tmp_path / "corpora").pages_of() == {"a": 1}
    assert build_corpus(fewer, ITEMS, tmp_path / "corpora").pages_of() == {"a": 1, "b": 2}


def test_wrong_files(files: dict[str, Path], tmp_path: Path) -> None:
    ragged = tmp_path / "ragged.csv"
    ragged.write_text("page_id,item_id\np1,a\np2\n")
    for config, message in (
        (CorpusConfig(), "there is no page; give pages, noise, or descriptions"),
        (CorpusConfig(pages=(PagesConfig(path=tmp_path / "none.jsonl"),)), "none.jsonl cannot be read"),
        (CorpusConfig(pages=(PagesConfig(path=files["own"]),), noise_share=0.5), "there is no noise; give files"),
        (
            CorpusConfig(pages=(PagesConfig(path=files["own"], matches=files["matches"], item_field="film"),)),
            "matches.csv has no column film; name its columns in page_field and item_field",
        ),
        (
            CorpusConfig(pages=(PagesConfig(path=files["own"], matches=ragged),)),
            "ragged.csv, line 3 has 1 fields and the header 2; correct it",
        ),
    ):
        with pytest.raises(ConfigurationError, match=message):
            build_corpus(config, ITEMS, tmp_path / "corpora")


def test_paths_are_resolved() -> None:
    config = CorpusConfig(pages=(PagesConfig(path=Path("p"), matches=Path("m")),), noise=(PagesConfig(path=Path("n")),))
    found = resolved_corpus(config, lambda path: Path("/x") / path)
    assert (found.pages[0].path, found.pages[0].matches, found.noise[0].path) == (
        Path("/x/p"),
        Path("/x/m"),
        Path("/x/n"),
    )
    assert found.noise[0].matches is None
