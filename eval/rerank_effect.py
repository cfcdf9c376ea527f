"""Whether re-ranking raises the share of relevant pages among the first ten, on films whose pages are known.

    python -m webrec.eval.rerank_effect --data FOLDER --output eval/results/rerank_effect.json

`FOLDER` holds `movielens_small_2018`, the pages about films and the noise pages. Every user has ten films, the next one, and 19
films never seen, drawn evenly. The local index over all pages finds 30 for each of three queries; re-ranking keeps ten. A page is
relevant if it is about the film that was taken (`target`), one of the candidates, or one of the candidates or the history.
Queries that the backbone wrote are kept in the output file and not written again.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import json
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webrec.eval.provenance import provenance
from webrec.models.sentence_encoder import get_sentence_encoder
from webrec.nodes.prompt import User
from webrec.tools.page import Page
from webrec.tools.providers.local_index import LocalIndex, build_index
from webrec.tools.ranking.faiss_rerank import RerankBy, rerank_pages
from webrec.tools.text_safety import clean

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HISTORY, CANDIDATES, POOL, KEPT = 10, 20, 30, 10
SOURCES = ("film_pages_wikipedia", "film_reviews_imdb", "noise_newsgroups", "noise_reddit")
WAYS: tuple[tuple[RerankBy, float], ...] = tuple(
    (by, diversity) for by in ("query", "history", "both") for diversity in (0.0, 0.3)
)
VIEWS = ("target", "candidates", "candidates or history")
RESAMPLES = 10_000


@dataclass(frozen=True)
class Case:
    """A user: titles, and the film ids that each view calls relevant."""

    user: str
    history: tuple[str, ...]
    candidates: tuple[str, ...]
    relevant: dict[str, frozenset[str]]


def cases(data: Path, count: int, seed: int = 0) -> list[Case]:
    """`count` users of MovieLens, or as many as have more than ten films."""
    with gzip.open(data / "movielens_small_2018" / "items.jsonl.gz", "rt", encoding="utf-8") as lines:
        titles = {(item := json.loads(line))["item_id"]: clean(item["title"]) for line in lines}
    taken: dict[str, list[str]] = {}
    with gzip.open(data / "movielens_small_2018" / "interactions.csv.gz", "rt", encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            taken.setdefault(row["user_id"], []).append(row["item_id"])
    generator = random.Random(seed)  # noqa: S311 - a sample, not a secret
    users = sorted(user for user, items in taken.items() if len(items) > HISTORY)
    made = []
    for user in generator.sample(users, min(count, len(users))):
        history, target = taken[user][-HISTORY - 1 : -1], taken[user][-1]
        candidates = [target, *generator.sample(sorted(titles.keys() - set(taken[user])), CANDIDATES - 1)]
        generator.shuffle(candidates)
        relevant = {
            "target": frozenset([target]),
            "candidates": frozenset(candidates),
            "candidates or history": frozenset([*candidates, *history]),
        }
        made.append(Case(user, tuple(titles[i] for i in history), tuple(titles[i] for i in candidates), relevant))
    return made


def gather_pages(data: Path, target: Path) -> dict[str, str]:
    """Write all pages to one file with an address each; returns address → film id, where the film is known."""
    films: dict[str, str] = {}
    with gzip.open(
        data / "film_pages_wikipedia" / "movielens_matches.csv.gz", "rt", encoding="utf-8", newline=""
    ) as lines:
        wikipedia = {row["page_id"]: row["movielens_item_id"] for row in csv.DictReader(lines)}
    with target.open("w", encoding="utf-8") as out:
        for source in SOURCES:
            with gzip.open(data / source / "pages.jsonl.gz", "rt", encoding="utf-8") as lines:
                for number, line in enumerate(lines):
                    page = json.loads(line)
                    url = f"https://{source.replace('_', '-')}.example/{number}"
                    film = page.get("movielens_item_id") or wikipedia.get(str(page["id"]))
                    if film and source.startswith("film"):
                        films[url] = str(film)
                    record = {"title": page["title"] or "", "text": page["text"], "url": url}
                    out.write(json.dumps(record) + "\n")
    return films


def keyword_query(case: Case) -> str:
    """What the product asks the web for this user: keywords of the backbone's own reasoning, 64 tokens long."""
    from webrec import build_graph, recommend

    class Nothing:
        name, query_limit = "nothing", None

        async def search(self, query: str, limit: int) -> list[Page]:
            return []

    found = recommend(
        list(case.history),
        list(case.candidates),
        graph=build_graph(providers={"nothing": lambda _: Nothing()}),
        providers=["nothing"],
        reasoning_tokens=64,
    )
    return found.query


class CachedEncoder:
    """The default sentence encoder; a text is read once."""

    def __init__(self) -> None:
        self._encoder = get_sentence_encoder()
        self._held: dict[str, NDArray[np.float32]] = {}

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit-length embeddings, shape (texts, width)."""
        import numpy as np

        new = [t for t in dict.fromkeys(texts) if t not in self._held]
        if new:
            self._held.update(zip(new, self._encoder.encode(new), strict=True))
        return np.stack([self._held[t] for t in texts])


def shares(pages: Sequence[Page], case: Case, films: dict[str, str]) -> dict[str, float]:
    """Share of relevant pages, of those given, by view; for the target whether there is one at all."""
    about = [films.get(page.url) for page in pages]
    result = {view: sum(f in case.relevant[view] for f in about) / max(len(about), 1) for view in VIEWS}
    return result | {"target": float(any(f in case.relevant["target"] for f in about))}


def measure_one(
    case: Case, query: str, pool: Sequence[Page], films: dict[str, str], encode: CachedEncoder
) -> dict[str, Any]:
    """The shares of one user and query: of the pool, of its first ten, and of the ten that each way keeps."""
    found: dict[str, dict[str, float]] = {"pool": shares(pool, case, films), "found": shares(pool[:KEPT], case, films)}
    texts = [(page.title, page.snippet) for page in pool]
    for by, diversity in WAYS:
        best = rerank_pages(texts, KEPT, encode, query=query, history=case.history, by=by, diversity=diversity)
        found[f"{by} {diversity}"] = shares([pool[i] for i, _ in best], case, films)
    return found


def summarise(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each query, way and view: the mean, and its difference to no re-ranking with a 95 % bootstrap interval over users."""
    import numpy as np

    summary = []
    for kind in dict.fromkeys(row["query"] for row in rows):
        own = [row["shares"] for row in rows if row["query"] == kind]
        draws = np.random.default_rng(0).integers(0, len(own), (RESAMPLES, len(own)))
        for way in own[0]:
            for view in VIEWS:
                values = np.array([o[way][view] for o in own])
                difference = values - np.array([o["found"][view] for o in own])
                low, high = np.quantile(difference[draws].mean(1), [0.025, 0.975])
                line = {
                    "query": kind,
                    "way": way,
                    "view": view,
                    "users": len(own),
                    "mean": round(float(values.mean()), 4),
                }
                gain = {"gain": difference.mean(), "low": low, "high": high}
                summary.append(line | {name: round(float(value), 4) for name, value in gain.items()})
    return summary


def rerank_table(report: dict[str, Any]) -> str:
    """The summary as Markdown."""
    lines = [
        "| query | pages kept | target has a page | of the candidates | of candidates or history |",
        "| --- | --- | --- | --- | --- |",
    ]
    held = {(row["query"], row["way"], row["view"]): row for row in report["summary"]}
    for kind, way in dict.fromkeys((row["query"], row["way"]) for row in report["summary"]):
        cells = []
        for view in VIEWS:
            row = held[kind, way, view]
            gain = "" if way in {"found", "pool"} else f" ({row['gain']:+.3f}, {row['low']:+.3f} to {row['high']:+.3f})"
            cells.append(f"{row['mean']:.3f}{gain}")
        users = held[kind, way, VIEWS[0]]["users"]
        by, _, diversity = way.partition(" ")
        name = {"pool": f"all {POOL} found", "found": f"the first {KEPT} found"}.get(way)
        name = name or f"re-ranked by {by}" + (f", diversity {diversity}" if diversity != "0.0" else "")
        lines.append(f"| {kind} ({users} users) | {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write the rows where `--output` says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--output", type=Path, required=True, help="JSON file for the result")
    parser.add_argument("--users", type=int, default=300, help="users of the queries made of titles")
    parser.add_argument("--keyword-users", type=int, default=100, help="users whose keywords the backbone picks")
    chosen = parser.parse_args()
    old = json.loads(chosen.output.read_text("utf-8")) if chosen.output.exists() else {}
    keywords: dict[str, str] = old.get("keywords", {})
    users = cases(chosen.data, chosen.users)

    def write(**more: Any) -> None:
        files = [f"movielens_small_2018/{n}" for n in ("items.jsonl.gz", "interactions.csv.gz")]
        hashes = {
            n: hashlib.sha256((chosen.data / n).read_bytes()).hexdigest()
            for n in [*files, *(f"{s}/pages.jsonl.gz" for s in SOURCES)]
        }
        report = {
            **provenance("torch", "tantivy", "faiss-cpu"),
            "seed": 0,
            "pool": POOL,
            "kept": KEPT,
            "data": hashes,
            "keywords": keywords,
        }
        chosen.output.write_text(json.dumps(report | more, indent=1) + "\n", encoding="utf-8")

    for number, case in enumerate(users[: chosen.keyword_users], 1):
        if case.user not in keywords:
            keywords[case.user] = keyword_query(case)
            write()
            print(f"keywords {number}/{chosen.keyword_users}", flush=True)
    encode, rows = CachedEncoder(), list[dict[str, Any]]()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pages.jsonl"
        films = gather_pages(chosen.data, file)
        index, provider = build_index([file], None), LocalIndex(file)
        for number, case in enumerate(users, 1):
            user = User.of(list(case.history), list(case.candidates), history_items=HISTORY, seed=0)
            queries = {
                "last three titles": " ".join(case.history[-3:]),
                "candidate titles": " ".join(user.candidates),
                "keywords": keywords.get(case.user, ""),
            }
            for kind, query in queries.items():
                if query:
                    pool = provider.search_in(index, query, POOL)
                    found = measure_one(case, query, pool, films, encode)
                    rows.append({"user": case.user, "query": kind, "found": len(pool), "shares": found})
            print(f"{number}/{len(users)} users", flush=True)
    write(rows=rows, summary=summarise(rows))
    print(rerank_table({"summary": summarise(rows)}))


if __name__ == "__main__":
    main()
