"""Searching for the examples of an evaluation: what the product finds, the leakage rules, and the placebos."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.decoder_server import decoder_server, written_by
from webrec import recommend
from webrec.errors import ConfigurationError
from webrec.eval.data.dataset import Item, RankingExample
from webrec.eval.parquet import write_whole
from webrec.eval.retrieval import retrieve
from webrec.eval.retrieval.config import CorpusConfig, PagesConfig, RetrievalConfig
from webrec.eval.retrieval.corpus import Corpus, build_corpus
from webrec.eval.retrieval.found import found_table, read_found, search_pieces
from webrec.eval.retrieval.page_source import PageSource
from webrec.eval.retrieval.retrieve import FoundPage, Retrieved, Retriever
from webrec.models import kept_reasoning
from webrec.models.backbone import get_backbone
from webrec.models.config import BackboneConfig

ITEMS = {f"i{n}": Item(f"i{n}", title) for n, title in enumerate(["Soap", "Brush", "Towel", "Comb", "Mirror", "Razor"])}
EXAMPLE = RankingExample("u#0", "u", 0, ("i0", "i1"), ("i2", "i3", "i4"), "i3", time=1_000_000_000)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    pages = [
        {"title": f"{item.title} story", "text": f"One {item.title} and its user.", "published": day, "authors": [who]}
        for item, day, who in zip(
            ITEMS.values(),
            ["2000-01-01", "2001-09-08", "2001-09-09", "2001-09-10", "2020-01-01", "2000-05-05"],
            ["x", "y", "z", "x", "y", "u"],
            strict=True,
        )
    ]
    path = tmp_path / "shop" / "pages.jsonl"
    path.parent.mkdir()
    path.write_text("".join(json.dumps(page) + "\n" for page in pages), encoding="utf-8")
    return build_corpus(CorpusConfig(pages=(PagesConfig(path=path),)), ITEMS, tmp_path / "corpora")


@pytest.fixture
def config(tiny_sentencepiece: Path) -> RetrievalConfig:
    return RetrievalConfig(
        name="prompt", backbone=str(tiny_sentencepiece), query_strategy="prompt", dtype="float32", reasoning_tokens=8
    )


def test_it_finds_what_the_product_finds(corpus: Corpus, config: RetrievalConfig) -> None:
    (found,) = Retriever(config, ITEMS, corpus).retrieve([EXAMPLE])
    told = recommend(
        ["Soap", "Brush"],
        ["Towel", "Comb", "Mirror"],
        backbone=config.backbone,
        query_strategy="prompt",
        dtype="float32",
        providers=("local",),
        pages_path=str(corpus.path),
    )
    assert (found.key, found.state, found.query) == ("u#0", "found", told.query)
    assert [(p.title, p.text, p.url) for p in found.pages] == [(p.title, p.snippet, p.url) for p in told.pages]
    assert len(found.pages) == 5  # of five named items
    assert (found.searches, found.tokens_written) == (1, 0)
    assert found.seconds > 0


def test_keywords_take_tokens(corpus: Corpus, config: RetrievalConfig) -> None:
    keywords = config.model_copy(update={"query_strategy": "keywords"})
    (found,) = Retriever(keywords, ITEMS, corpus).retrieve([EXAMPLE])
    assert 0 < found.tokens_written <= 8
    assert found.query == " ".join(found.keywords)
    assert found.state in {"found", "no_pages", "no_keywords"}


def test_reasoning_together_finds_what_reasoning_alone_finds(corpus: Corpus, config: RetrievalConfig) -> None:
    keywords = config.model_copy(update={"query_strategy": "keywords"})
    examples = [replace(EXAMPLE, key=f"u{n}#0", history=tuple(ITEMS)[:n]) for n in (1, 2, 3, 2)]
    together = Retriever(keywords, ITEMS, corpus).retrieve(examples)
    alone = Retriever(keywords.model_copy(update={"reason_together": 1}), ITEMS, corpus).retrieve(examples)
    assert [replace(found, seconds=0) for found in together] == [replace(found, seconds=0) for found in alone]
    assert len({found.query for found in together}) == 3  # two examples ask the same


@pytest.mark.parametrize("setting", [{}, {"title_words": 1}, {"history_items": 1}, {"seed": 7}], ids=str)
def test_what_was_written_together_is_not_written_again(
    corpus: Corpus, config: RetrievalConfig, setting: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever changes the question changes it for both, or every text would be written twice without a word."""
    items = {key: replace(item, title=f"{item.title} of wood") for key, item in ITEMS.items()}
    keywords = config.model_copy(update={"query_strategy": "keywords", **setting})
    examples = [replace(EXAMPLE, key=f"u{n}#0", history=tuple(ITEMS)[:n]) for n in (2, 3)]
    monkeypatch.setattr(retrieve, "reason", lambda *_: pytest.fail("written again"))
    found = Retriever(keywords, items, corpus).retrieve(examples)
    assert all(f.tokens_written for f in found)


def test_a_forbidden_page_is_not_found(corpus: Corpus, config: RetrievalConfig) -> None:
    """2001-09-09T01:46:40Z is the target's time: pages of that day and later are out, and those that the user wrote."""
    rules = config.model_copy(update={"before_target": True})
    (found,) = Retriever(rules, ITEMS, corpus).retrieve([EXAMPLE])
    assert {p.title for p in found.pages} == {"Soap story", "Brush story"}
    assert found.left_out == {"not_before": 3}
    own = config.model_copy(update={"not_by_user": True})
    (found,) = Retriever(own, ITEMS, corpus).retrieve([replace(EXAMPLE, candidates=("i2", "i5"))])
    assert "Razor story" not in {p.title for p in found.pages}
    assert found.left_out == {"same_user": 1}
    with pytest.raises(ConfigurationError, match="before_target, and example u#0 no time; turn it off"):
        Retriever(rules, ITEMS, corpus).retrieve([replace(EXAMPLE, time=None)])


def test_what_is_no_retrieval(corpus: Corpus, config: RetrievalConfig) -> None:
    for changes, message in (
        ({"query_strategy": "none"}, "searches for nothing"),
        ({"retrieval": False}, "searches for nothing"),
        ({"pages_path": "x"}, "keep one of them"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            Retriever(config.model_copy(update=changes), ITEMS, corpus)


def made(key: str, pages: int = 2) -> Retrieved:
    own = tuple(FoundPage(f"{key} title {n}", f"{key} text {n}", f"https://x.example/{key}/{n}") for n in range(pages))
    return Retrieved(key, "found" if pages else "no_pages", f"query {key}", ("q", key), own, {"flagged": 1}, 2, 3, 0.5)


def test_what_was_found_is_kept(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    found = [made(f"u{n}#0", pages=n % 3) for n in range(20)]
    pieces = search_pieces("films", "keywords", "test", "uniform", 20)
    assert [(p.begin, p.end) for p in pieces] == [(0, 16), (16, 20)]
    for piece in pieces:
        write_whole(piece.path(tmp_path), found_table(found[piece.begin : piece.end]))
    assert read_found(tmp_path, pieces) == {one.key: one for one in found}


def test_placebos() -> None:
    found = {("test", "uniform"): {f"u{n}#0": made(f"u{n}#0", pages=n % 4) for n in range(12)}}
    examples = [RankingExample(key, key, 0, (), (), "") for key in found["test", "uniform"]]
    shuffled, swapped = PageSource(found, "shuffled"), PageSource(found, "swapped")
    given = [shuffled.of(example) for example in examples]
    for example, read in zip(examples, given, strict=True):
        own = found["test", "uniform"][example.key]
        assert PageSource(found).of(example) == own
        assert read.key == own.key
        assert read.query != own.query
        mixed = swapped.of(example)
        assert [p.title for p in mixed.pages] == [p.title for p in own.pages]
        assert not {p.text for p in mixed.pages} & {p.text for p in own.pages}
    assert sorted(one.query for one in given) == sorted(one.query for one in found["test", "uniform"].values())
    assert [PageSource(found, "shuffled", 1).of(e).query for e in examples] != [one.query for one in given]
    with pytest.raises(ConfigurationError, match="placebo: there is one example"):
        PageSource({("test", "uniform"): {"u#0": made("u#0")}}, "shuffled")


def test_an_external_decoder_is_asked_side_by_side_and_finds_the_same(corpus: Corpus, config: RetrievalConfig) -> None:
    keywords = config.model_copy(update={"query_strategy": "keywords", "language": "xx"})
    examples = [replace(EXAMPLE, key=f"u{n}#0", history=tuple(ITEMS)[:n]) for n in (1, 2, 3, 2)]
    own = Retriever(keywords, ITEMS, corpus).retrieve(examples)
    backbone = get_backbone(BackboneConfig(backbone=config.backbone, dtype="float32"))
    with decoder_server(written_by(backbone)) as server:
        server.seconds = 0.3
        elsewhere = keywords.model_copy(update={"decoder_url": server.url})
        asked = Retriever(elsewhere, ITEMS, corpus).retrieve(examples)
        alone = Retriever(elsewhere.model_copy(update={"reason_together": 1}), ITEMS, corpus).retrieve(examples[:1])
    assert server.most_under_way == 3  # two examples ask the same
    assert [replace(found, seconds=0) for found in asked] == [replace(found, seconds=0) for found in own]
    assert replace(alone[0], seconds=0) == replace(own[0], seconds=0)


def test_reasoning_is_shared_by_retrievals_that_ask_the_same(
    corpus: Corpus, config: RetrievalConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBREC_CACHE", str(tmp_path / "cache"))
    keywords = config.model_copy(update={"query_strategy": "keywords", "language": "xx", "reuse_computed": True})
    examples = [replace(EXAMPLE, key=f"u{n}#0", history=tuple(ITEMS)[:n]) for n in (1, 2, 3)]
    first = Retriever(keywords, ITEMS, corpus).retrieve(examples)
    monkeypatch.setattr(kept_reasoning, "decode_together", lambda *_, **__: pytest.fail("written again"))
    fewer = keywords.model_copy(update={"keywords": 2, "name": "fewer"})
    again = Retriever(fewer, ITEMS, corpus).retrieve(examples)
    assert [found.tokens_written for found in again] == [found.tokens_written for found in first]
    assert all(set(few.keywords) <= set(many.keywords) for few, many in zip(again, first, strict=True))


def test_settings_that_change_nothing_do_not_tell_retrievals_apart(config: RetrievalConfig) -> None:
    same = config.model_copy(update={"reuse_computed": True, "decoder_seconds": 5.0, "prompt_form": "next"})
    assert same.counted() == config.counted()
    asked = config.model_copy(update={"decoder_url": "http://127.0.0.1:1/v1"})
    assert asked.counted() != config.counted()
    assert asked.model_copy(update={"decoder_api": "chat"}).counted() != asked.counted()
