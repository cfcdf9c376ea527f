"""Re-ranking by meaning: exact inner-product search with FAISS over unit-length embeddings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from webrec.errors import InputError, missing_extra
from webrec.tools.ranking.diversity import choose_diverse
from webrec.tools.ranking.passages import passages

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Encode = Callable[[Sequence[str]], "NDArray[np.float32]"]
"""Texts to unit-length embeddings, shape (texts, width)."""

RerankBy = Literal["query", "history", "both"]


def require_rerank_extra() -> None:
    """Raise `MissingExtraError` if FAISS is not installed; cheap, does not import it."""
    if find_spec("faiss") is None:
        raise missing_extra("rerank", "faiss")


def nearest(query: str, texts: Sequence[str], count: int, encode: Encode) -> list[tuple[int, float]]:
    """The `count` texts nearest to `query` as (index, cosine similarity), best first; equal ones in the order given.

    Raises `MissingExtraError` if FAISS is not installed.
    """
    if not texts:
        require_rerank_extra()
        return []
    vectors = encode([query, *texts])
    similarities = _similarities(vectors[0], vectors[1:])
    return sorted(enumerate(similarities), key=lambda p: (-p[1], p[0]))[:count]


def rerank_pages(
    pages: Sequence[tuple[str, str]],
    count: int,
    encode: Encode,
    *,
    query: str,
    history: Sequence[str] = (),
    by: RerankBy = "query",
    diversity: float = 0.0,
) -> list[tuple[int, float]]:
    """The `count` best of `pages`, given as (title, text), as (index, cosine similarity), best first.

    Compared with the embedding of the `query`, the mean of those of the `history`'s titles, or the mean of these two. Each
    mean is brought to unit length before it is used. A page is as similar as its best passage, each passage read under
    the page's title. With `diversity` above 0, pages unlike those already chosen come first (`choose_diverse`); the
    similarity returned is the one to the target. Equal pages keep their order. Raises `MissingExtraError` if FAISS is not
    installed, `InputError` if the history is asked for and empty.
    """
    import numpy as np

    require_rerank_extra()
    if by != "query" and not history:
        raise InputError(f"history: it is empty; rerank_by={by} compares pages with it, so give at least one title")
    if not pages:
        return []
    wanted = {"query": [query], "history": list(history), "both": [query, *history]}[by]
    texts, owners = [], []
    for owner, (title, text) in enumerate(pages):
        for passage in passages(text):
            texts.append(f"{title}. {passage}")
            owners.append(owner)
    vectors = encode([*wanted, *texts])
    target = _target(vectors[: len(wanted)], by)
    best: dict[int, tuple[float, int]] = {}
    for place, similarity in enumerate(_similarities(target, vectors[len(wanted) :])):
        owner = owners[place]
        if owner not in best or similarity > best[owner][0]:
            best[owner] = (similarity, place)
    similarities = [best[owner][0] for owner in range(len(pages))]
    chosen_vectors = vectors[len(wanted) :][np.array([best[owner][1] for owner in range(len(pages))])]
    return [(i, similarities[i]) for i in choose_diverse(similarities, chosen_vectors, count, diversity)]


def _target(vectors: NDArray[np.float32], by: RerankBy) -> NDArray[np.float32]:
    if by == "both":
        return _unit(vectors[0] + _unit(vectors[1:].sum(axis=0)))
    return _unit(vectors.sum(axis=0))


def _unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    import numpy as np

    scaled: NDArray[np.float32] = vector / max(float(np.linalg.norm(vector)), 1e-12)
    return scaled


def _similarities(target: NDArray[np.float32], vectors: NDArray[np.float32]) -> list[float]:
    """Cosine similarity of each vector to `target`, in their order."""
    require_rerank_extra()
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    similarities, found = index.search(target[None], len(vectors))
    by_place = dict(zip(found[0].tolist(), similarities[0].tolist(), strict=True))
    return [by_place[place] for place in range(len(vectors))]
