"""Sentence embeddings kept by content: of a text that was embedded before by the same model nothing is computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from webrec.models.content_store import ContentStore, content_key
from webrec.models.weights_digest import model_digest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from webrec.models.sentence_encoder import SentenceEncoder

FORMAT = "1"
"""To be raised when what is kept changes."""


def encode_kept(store: ContentStore | None, encoder: SentenceEncoder) -> Callable[[Sequence[str]], NDArray[np.float32]]:
    """`encoder.encode`, of texts that `store` does not hold; without a store, of all.

    What is kept comes back to the bit. It may differ in the last bits from what would be computed now, as embeddings do that are
    computed beside other texts.
    """
    if store is None:
        return encoder.encode

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        import numpy as np

        identity = _identity(encoder)
        keys = [content_key(identity, text.encode("utf-8", "surrogatepass")) for text in texts]
        held = store.get(list(dict.fromkeys(keys)))
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in held}
        if missing:
            vectors = encoder.encode(list(missing.values()))
            new = {key: vector.astype("<f4").tobytes() for key, vector in zip(missing, vectors, strict=True)}
            store.put(new)
            held |= new
        if not keys:
            return encoder.encode([])
        return np.stack([np.frombuffer(held[key], dtype="<f4") for key in keys]).astype(np.float32)

    return encode


def _identity(encoder: SentenceEncoder) -> bytes:
    import torch
    import transformers

    own = encoder.loaded
    dense = [tensor.detach().cpu().numpy().tobytes() for layer in own.dense for tensor in layer.state_dict().values()]
    settings = (
        FORMAT,
        torch.__version__,
        transformers.__version__,
        own.pooling,
        repr(own.dense),
        own.prompt,
        str(own.lower),
    )
    return content_key(*settings, own.tokenizer.to_str(), model_digest(own.model), *dense)
