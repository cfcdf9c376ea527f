"""Systems that only look whether there are pages: what every gain from reading them has to beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from webrec.eval.data.dataset import Item, RankingExample, TrainingData
from webrec.eval.retrieval.page_source import PageSource
from webrec.eval.systems.system import NotFittedError, OneByOne
from webrec.tools.text_safety import normalised


class PageCount(OneByOne):
    """How many pages of the corpus are about a candidate; with `exists`, whether there is any."""

    def __init__(self, pages_of: Mapping[str, int], exists: bool = False) -> None:
        self.name = "page_exists" if exists else "page_count"
        self._pages_of, self._exists = pages_of, exists
        self._fitted = False

    def fit(self, training: TrainingData, seed: int, validation: Sequence[RankingExample] = ()) -> None:
        """Nothing is learned."""
        self._fitted = True

    def rank(self, example: RankingExample) -> list[float]:
        """Pages about each candidate, or 1 and 0."""
        if not self._fitted:
            raise NotFittedError(self.name)
        counts = [self._pages_of.get(item_id, 0) for item_id in example.candidates]
        return [float(count > 0 if self._exists else count) for count in counts]


class TitleInPages(OneByOne):
    """How many of the pages found for the example hold a candidate's title, as text or in their own title."""

    name = "title_in_pages"

    def __init__(self, pages: PageSource) -> None:
        self._pages = pages
        self._items: Mapping[str, Item] | None = None

    def fit(self, training: TrainingData, seed: int, validation: Sequence[RankingExample] = ()) -> None:
        """Keep the titles."""
        self._items = training.items

    def rank(self, example: RankingExample) -> list[float]:
        """The number of pages, for each candidate."""
        if self._items is None:
            raise NotFittedError(self.name)
        texts = [normalised(f"{page.title}\n{page.text}") for page in self._pages.of(example).pages]
        titles = [normalised(self._items[item_id].title) for item_id in example.candidates]
        return [float(sum(title in text for text in texts)) for title in titles]
