"""Re-ranking by meaning: exact inner-product search with FAISS over unit-length embeddings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from webrec.errors import missing_extra

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Encode = Callable[[Sequence[str]], "NDArray[np.float32]"]


def require_rerank_extra() -> None:
    """Raise `MissingExtraError` if FAISS is not installed; cheap, does not import it."""
    if find_spec("faiss") is None:
        raise missing_extra("rerank", "faiss")


def nearest(query: str, texts: Sequence[str], count: int, encode: Encode) -> list[tuple[int, float]]:
    """The `count` texts nearest to `query` as (index, cosine similarity), best first; equal ones in the order given.

    Raises `MissingExtraError` if FAISS is not installed.
    """
    require_rerank_extra()
    import faiss

    if not texts:
        return []
    vectors = encode([query, *texts])
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors[1:])
    similarities, found = index.search(vectors[:1], len(texts))
    ranked = sorted(zip(found[0].tolist(), similarities[0].tolist(), strict=True), key=lambda p: (-p[1], p[0]))
    return ranked[:count]
