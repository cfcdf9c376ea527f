"""The embedded provider: a tantivy index (BM25) over a folder or a JSONL file of pages."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tantivy

from webrec.cache_folder import build_once, cache_root
from webrec.errors import ConfigurationError
from webrec.tools.page import Page
from webrec.tools.text_safety import storable

SUFFIXES = (".jsonl", ".jsonl.gz", ".txt", ".md")
MIN_SHARED_TERMS = 2
"""A page must share this many distinct words with a query that has as many: one common word is no match."""

KEPT_BYTES = 5_000_000
"""Pages of more bytes than this are indexed on disk, once for all processes and runs; smaller ones in memory."""
LAYOUT = 3
"""Part of a kept index's name: one that another version of this file made is not taken."""

_State = tuple[tuple[str, int, int], ...]
_indexes: dict[Path, tuple[_State, tantivy.Index]] = {}
_lock = threading.Lock()


def pages_files(path: Path) -> list[Path]:
    """The page files at `path` (itself, or below it), sorted. Raises `ConfigurationError` if there are none.

    A folder may hold other files, which are left alone.
    """
    if path.is_file():
        _check_ending(path)
        return [path]
    if not path.is_dir():
        raise ConfigurationError(f"pages_path: {str(path)!r} does not exist; give a folder or a JSONL file of pages")
    files = sorted(p for p in path.rglob("*") if p.is_file() and p.name.lower().endswith(SUFFIXES))
    if not files:
        raise ConfigurationError(f"pages_path: {str(path)!r} holds no page; put {', '.join(SUFFIXES)} files there")
    return files


def read_pages(file: Path) -> Iterator[dict[str, Any]]:
    """Records with `title`, `text` and optionally `url`, `published` or `time`, and `authors`, from one file.

    A JSONL line holds one page; a text file is one page whose title is its first line. Raises `ConfigurationError`
    naming the file if it is of another kind, damaged or not UTF-8, and the line for one that is not such a record.
    """
    _check_ending(file)
    name, number = file.name.lower(), 0
    opener = gzip.open if name.endswith(".gz") else open
    try:
        with opener(file, "rt", encoding="utf-8-sig") as lines:
            if name.endswith((".txt", ".md")):
                first, _, rest = lines.read().strip().partition("\n")
                yield {"title": first.lstrip("# "), "text": rest or first}
                return
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _record(line, f"line {number} of {file.name}")
    except UnicodeDecodeError:
        after = f", after line {number}," if number else ""
        raise ConfigurationError(f"pages_path: {file.name}{after} is not UTF-8 text; save it as UTF-8") from None
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigurationError(
            f"pages_path: {file.name} is damaged or cannot be read ({error}); get it again"
        ) from None


def _check_ending(file: Path) -> None:
    if not file.name.lower().endswith(SUFFIXES):
        raise ConfigurationError(
            f"pages_path: {file.name} is of an unknown kind; give a folder, or a file that ends with {', '.join(SUFFIXES)}"
        )


def _record(line: str, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        record = None
    if isinstance(record, dict) and "text" in record and record["text"] is None:
        record["text"] = ""  # a review that is a rating alone
    if not isinstance(record, dict) or not isinstance(record.get("text"), str):
        raise ConfigurationError(f"pages_path: {where} is not a page; write one JSON object with title and text a line")
    return record


def open_index(path: Path) -> tantivy.Index:
    """The index over `path`, built on first use and again when a file changes; shared by the process.

    A large one is kept in WebRec's cache folder, where other processes find it (`KEPT_BYTES`).
    """
    path = path.resolve()
    files = pages_files(path)
    state = tuple((str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files)
    with _lock:
        held = _indexes.get(path)
        if held is None or held[0] != state:
            held = (state, _open(files, state))
            _indexes[path] = held
        return held[1]


def _open(files: list[Path], state: _State) -> tantivy.Index:
    if sum(size for _, size, _ in state) <= KEPT_BYTES:
        return build_index(files, None)
    name = hashlib.sha256(json.dumps([LAYOUT, version("tantivy"), state]).encode()).hexdigest()[:16]
    folder = build_once(cache_root() / "indexes" / name, lambda work: _fill(files, work))
    return tantivy.Index.open(str(folder))


def _fill(files: list[Path], folder: Path) -> None:
    build_index(files, folder)


def build_index(files: list[Path], folder: Path | None) -> tantivy.Index:
    """The index over these files, in an empty `folder`, or in memory if None."""
    schema = tantivy.SchemaBuilder()
    schema.add_text_field("title", stored=True, tokenizer_name="en_stem")
    schema.add_text_field("text", stored=True, tokenizer_name="en_stem")
    schema.add_text_field("url", stored=True, tokenizer_name="raw")
    schema.add_text_field("time", stored=True, tokenizer_name="raw")
    schema.add_text_field("authors", stored=True, tokenizer_name="raw")
    index = tantivy.Index(schema.build(), path=None if folder is None else str(folder))
    writer = index.writer(heap_size=50_000_000, num_threads=1)  # one thread: the same ranking on every run
    for file in files:
        for page in read_pages(file):
            document = tantivy.Document()
            document.add_text("title", _text(page.get("title")))
            document.add_text("text", _text(page["text"]))
            document.add_text("url", _text(page.get("url")))
            document.add_text("time", _text(page.get("published") or page.get("time")))
            document.add_text("authors", json.dumps(page.get("authors") or page.get("author") or []))
            writer.add_document(document)
    writer.commit()
    writer.wait_merging_threads()
    index.reload()
    return index


def _text(value: Any) -> str:
    return storable(str(value or ""))


@dataclass(frozen=True)
class LocalIndex:
    """BM25 over title and text, any word may match; pages that share a single word with a longer query are left out."""

    path: Path
    name: str = "local"
    query_limit: int | None = None
    offline: bool = True
    """Nothing leaves the machine, so it also answers in a replay."""

    def __post_init__(self) -> None:
        """Fail early: `ConfigurationError` if the path holds no page."""
        pages_files(self.path)

    async def search(self, query: str, limit: int) -> list[Page]:
        """At most `limit` pages, best first."""
        return await asyncio.to_thread(self._search, query, limit)

    def _search(self, query: str, limit: int) -> list[Page]:
        return self.search_in(open_index(self.path), query, limit)

    def search_in(self, index: tantivy.Index, query: str, limit: int) -> list[Page]:
        """`search` in an index that `build_index` made."""
        terms = _terms(query)
        if not terms:
            return []
        clauses = []
        for term in terms:
            parsed, _ = index.parse_query_lenient(f'"{term}"', ["title", "text"])
            clauses.append((tantivy.Occur.Should, parsed))
        wanted = tantivy.Query.boolean_query(clauses, minimum_number_should_match=min(MIN_SHARED_TERMS, len(clauses)))
        searcher = index.searcher()
        pages = []
        for score, address in searcher.search(wanted, limit).hits:
            document = searcher.doc(address)
            first = {name: (document.get_first(name) or "") for name in ("title", "text", "url", "time", "authors")}
            pages.append(
                Page(
                    title=first["title"],
                    url=first["url"],
                    snippet=first["text"],
                    score=score,
                    provider=self.name,
                    time=first["time"],
                    authors=json.loads(first["authors"] or "[]"),
                )
            )
        return pages


_PLAIN = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple()).filter(tantivy.Filter.lowercase()).build()
_STEM = (
    tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
    .filter(tantivy.Filter.remove_long(40))
    .filter(tantivy.Filter.lowercase())
    .filter(tantivy.Filter.stemmer("english"))
    .build()
)


def _terms(query: str) -> list[str]:
    """Distinct words of the query by their stem: inflections count once, single ASCII letters (an 's) not at all."""
    words: dict[str, str] = {}
    for word in _PLAIN.analyze(query):
        stem = _STEM.analyze(word)
        if stem and not (len(word) == 1 and word.isascii()):
            words.setdefault(stem[0], word)
    return list(words.values())
