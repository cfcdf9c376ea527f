"""One file with all pages of a data set, each at an address of its own, and which item it is about."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from webrec.cache_folder import build_once
from webrec.errors import ConfigurationError
from webrec.eval.data.dataset import Item
from webrec.eval.data.text_files import csv_rows, numbered_lines
from webrec.eval.retrieval.config import CorpusConfig, PagesConfig
from webrec.tools.providers.local_index import read_pages

LAYOUT = 2
TEXT = 400
"""Characters of a page that stand for the item it is about."""
PAGES, ABOUT = "pages.jsonl", "about.json"
_Page = tuple[dict[str, Any], tuple[str, ...], str]
"""A page, the items it is about, and the name of its source."""


@dataclass(frozen=True)
class Corpus:
    """`path`: the JSONL file to search. `about`: the items that the page at an address is about. `digest`: of what went in.

    `signed`: how many pages say who wrote them.
    """

    path: Path
    about: Mapping[str, Sequence[str]]
    digest: str
    counts: Mapping[str, int]
    signed: int = 0

    def about_file(self) -> str:
        """What is written beside the pages."""
        return json.dumps({"items": dict(self.about), "counts": dict(self.counts), "signed": self.signed})

    def pages_of(self) -> dict[str, int]:
        """How many pages there are about each item; absent ones have none."""
        found: dict[str, int] = {}
        for about in self.about.values():
            for item_id in about:
                found[item_id] = found.get(item_id, 0) + 1
        return found

    def texts_of(self, characters: int = TEXT) -> dict[str, str]:
        """The beginning of the first page about each item."""
        found: dict[str, str] = {}
        with self.path.open(encoding="utf-8") as file:
            for line in file:
                page = json.loads(line)
                for item_id in self.about.get(page["url"], ()):
                    found.setdefault(item_id, page["text"][:characters])
        return found


def build_corpus(config: CorpusConfig, items: Mapping[str, Item], folder: Path) -> Corpus:
    """The corpus of `config` for a data set's `items`, under `folder`, from an earlier time if it was made before.

    Pages about items that are not in `items` stay: they are what else the web holds. Raises `ConfigurationError` naming the
    file of the first problem, or an empty corpus.
    """
    told: list[Any] = [config.model_dump(mode="json", exclude={"pages", "noise"}), sorted(items)]
    for kind in (config.pages, config.noise):
        told.append(
            [
                [
                    _file_hash(p.path),
                    p.matches and _file_hash(p.matches),
                    p.model_dump(mode="json", exclude={"path", "matches"}),
                ]
                for p in kind
            ]
        )
    if config.descriptions:
        told.append([[i.item_id, i.title, i.text] for i in items.values() if i.text])
    digest = hashlib.sha256(json.dumps([LAYOUT, told]).encode()).hexdigest()
    made = build_once(folder / digest[:16], lambda work: _write(config, items, work))
    about = json.loads((made / ABOUT).read_text("utf-8"))
    return Corpus(made / PAGES, about["items"], digest, about["counts"], about["signed"])


def _write(config: CorpusConfig, items: Mapping[str, Item], folder: Path) -> None:
    own = [page for file in config.pages for page in _pages(file, file.path)]
    if config.descriptions:
        own += [
            ({"title": item.title, "text": item.text}, (item.item_id,), "descriptions")
            for item in items.values()
            if item.text and item.title
        ]
    noise: list[_Page] = [(page, (), source) for file in config.noise for page, _, source in _pages(file, file.path)]
    own, noise = _shares(own, noise, config)
    if not own and not noise:
        raise ConfigurationError("corpora: there is no page; give pages, noise, or descriptions that the items have")
    about, signed, counts = {}, 0, {"about an item": 0, "about nothing known": 0, "noise": len(noise)}
    with (folder / PAGES).open("w", encoding="utf-8") as file:
        for number, (page, told_of, source) in enumerate([*own, *noise]):
            url = f"https://{source}.example/{number}"
            if known := [item_id for item_id in told_of if item_id in items]:
                about[url] = known
            if number < len(own):
                counts["about an item" if known else "about nothing known"] += 1
            kept = {name: page[name] for name in ("published", "time", "authors", "author") if page.get(name)}
            signed += "authors" in kept or "author" in kept
            file.write(json.dumps({"title": page.get("title") or "", "text": page["text"], "url": url, **kept}) + "\n")
    (folder / ABOUT).write_text(Corpus(folder, about, "", counts, signed).about_file(), encoding="utf-8")


def _pages(config: PagesConfig, path: Path) -> Iterator[_Page]:
    """(page, items, source) of one file; a page without text, such as a rating alone, is none."""
    if not path.is_file():
        raise ConfigurationError(f"corpora: {path} is not a file; give a JSONL file of pages")
    matched = None if config.matches is None else _matches(config)
    source = path.parent.name.lower().replace("_", "-") or "pages"
    for page in read_pages(path):
        if not page["text"].strip():
            continue
        item = page.get(config.item_field)
        own = (() if item is None else (str(item),)) if matched is None else tuple(matched.get(str(page.get("id")), ()))
        renamed = {of: page[field] for of, field in config.renamed().items() if page.get(field) is not None}
        yield {**page, **renamed}, own, source


def _matches(config: PagesConfig) -> dict[str, list[str]]:
    assert config.matches is not None
    if not config.matches.is_file():
        raise ConfigurationError(
            f"corpora: {config.matches} is not a file; give a CSV file of matches, or leave it out"
        )
    rows = csv_rows((line for _, line in numbered_lines(config.matches)), config.matches.name)
    _, names = next(rows, (0, []))
    for column in (config.page_field, config.item_field):
        if column not in names:
            raise ConfigurationError(
                f"corpora: {config.matches.name} has no column {column}; name its columns in page_field and item_field"
            )
    matched: dict[str, list[str]] = {}
    page, item = names.index(config.page_field), names.index(config.item_field)
    for line, row in rows:
        if len(row) != len(names):
            raise ConfigurationError(
                f"corpora: {config.matches.name}, line {line} has {len(row)} fields and the header {len(names)}; correct it"
            )
        items = matched.setdefault(row[page], [])
        if row[item] not in items:
            items.append(row[item])
    return matched


def _shares(own: list[_Page], noise: list[_Page], config: CorpusConfig) -> tuple[list[_Page], list[_Page]]:
    """Leave out as few as reach the share of noise, drawn by the seed."""
    if config.noise_share is None or not (own or noise):
        return own, noise
    share = config.noise_share
    if share > 0 and not noise:
        raise ConfigurationError("corpora.noise_share: there is no noise; give files in noise, or set it to 0")
    most = len(own) * share / (1 - share)
    if len(noise) >= most:
        return own, _some(noise, round(most), config.seed)
    return _some(own, round(len(noise) * (1 - share) / share), config.seed), noise


def _some(pages: list[_Page], count: int, seed: int) -> list[_Page]:
    chosen = np.random.default_rng(seed).permutation(len(pages))[:count]
    return [pages[place] for place in sorted(chosen.tolist())]


def _file_hash(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigurationError(f"corpora: {path} cannot be read ({error.strerror}); give a file of pages") from None


Resolve = Callable[[Path], Path]


def resolved_corpus(config: CorpusConfig, resolve: Resolve) -> CorpusConfig:
    """`config` with every path as `resolve` gives it."""

    def one(pages: PagesConfig) -> PagesConfig:
        matches = None if pages.matches is None else resolve(pages.matches)
        return pages.model_copy(update={"path": resolve(pages.path), "matches": matches})

    return config.model_copy(update={"pages": tuple(map(one, config.pages)), "noise": tuple(map(one, config.noise))})
