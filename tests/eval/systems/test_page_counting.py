"""The systems that only look whether there are pages."""

from __future__ import annotations

from webrec.eval.data.dataset import RankingExample
from webrec.eval.retrieval.page_source import PageSource
from webrec.eval.retrieval.retrieve import FoundPage, Retrieved
from webrec.eval.systems.page_counting import PageCount, TitleInPages

from .contract import EXAMPLES, TRAINING, SystemContract

PAGES_OF = {item: place % 4 for place, item in enumerate(TRAINING.items)}
FOUND = {
    example.key: Retrieved(
        example.key,
        "found",
        "",
        (),
        tuple(
            FoundPage(f"On THING  {item}", f"and thing {example.candidates[1]}!", "")
            for item in (*example.candidates[place % 2 :][:2], *example.history[:1])
        ),
        {},
        1,
        0,
        0.0,
    )
    for place, example in enumerate(EXAMPLES)
}
SOURCE = PageSource({("test", "uniform"): FOUND})


class TestPageCount(SystemContract):
    make = staticmethod(lambda: PageCount(PAGES_OF))
    learns = False


class TestPageExists(SystemContract):
    make = staticmethod(lambda: PageCount(PAGES_OF, exists=True))
    learns = False


class TestTitleInPages(SystemContract):
    make = staticmethod(lambda: TitleInPages(SOURCE))
    learns = False


def test_counts() -> None:
    example = RankingExample("k", "u", 0, (), ("i00", "i01", "i06", "nowhere"), "")
    counting, exists = PageCount(PAGES_OF), PageCount(PAGES_OF, exists=True)
    counting.fit(TRAINING, 0)
    exists.fit(TRAINING, 0)
    expected = [PAGES_OF["i00"], PAGES_OF["i01"], PAGES_OF["i06"], 0]
    assert counting.rank(example) == expected
    assert exists.rank(example) == [min(1, n) for n in expected]
    assert (counting.name, exists.name) == ("page_count", "page_exists")


def test_titles_in_pages() -> None:
    system = TitleInPages(SOURCE)
    system.fit(TRAINING, 0)
    # The first candidate's title is that of one page; the second's is in every text, and titles one page too.
    assert system.rank(EXAMPLES[0]) == [1.0, 3.0, *[0.0] * 18]
