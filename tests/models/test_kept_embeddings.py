"""Embeddings that are kept: the same vectors, and only unknown texts are computed."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from webrec.models.content_store import ContentStore
from webrec.models.kept_embeddings import encode_kept
from webrec.models.sentence_encoder import SentenceEncoder
from webrec.models.sentence_folder import SentenceModel

TEXTS = ["warm wool scarf", "a garden hose of rubber", "soap", "blue jacket", "東京の地図"]


@dataclass(frozen=True)
class Counting(SentenceEncoder):
    """Notes what it was asked to embed."""

    asked: list[list[str]] = field(default_factory=list)

    def encode(self, texts: Sequence[str]) -> Any:
        self.asked.append(list(texts))
        return super().encode(texts)


@pytest.fixture
def encoder() -> Counting:
    """A tiny BERT with random weights over bytes."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({"[PAD]": 0} | {c: n + 1 for n, c in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.enable_padding()
    torch.manual_seed(0)
    shape: dict[str, int] = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    model = BertModel(BertConfig(vocab_size=300, **shape), add_pooling_layer=False)
    return Counting(SentenceModel(tokenizer, model.eval().requires_grad_(False)))


def test_only_unknown_texts_are_computed(encoder: Counting, tmp_path: Path) -> None:
    encode = encode_kept(ContentStore(tmp_path / "x.sqlite3"), encoder)
    first = encode(TEXTS[:3])
    assert np.array_equal(first, encoder.encode(TEXTS[:3]))
    encoder.asked.clear()
    assert np.array_equal(encode([TEXTS[2], TEXTS[0], TEXTS[2]]), first[[2, 0, 2]])
    assert encoder.asked == []
    mixed = encode([*TEXTS, TEXTS[4]])
    assert encoder.asked == [TEXTS[3:]]
    assert mixed.dtype == np.float32
    assert np.array_equal(mixed[:3], first)
    assert np.allclose(mixed[:5], encoder.encode(TEXTS), atol=1e-6)
    assert encode([]).shape == (0, 16)


def test_another_model_has_its_own(encoder: Counting, tmp_path: Path) -> None:
    store = ContentStore(tmp_path / "x.sqlite3")
    encode_kept(store, encoder)(TEXTS)
    changed = copy.deepcopy(encoder.loaded.model)
    changed.embeddings.word_embeddings.weight[5] += 1
    others = [
        replace(encoder.loaded, model=changed),
        replace(encoder.loaded, pooling="cls"),
        replace(encoder.loaded, lower=True),
        replace(encoder.loaded, prompt="query: "),
        replace(encoder.loaded, dense=((torch.nn.Linear(16, 16).requires_grad_(False)),)),
    ]
    for loaded in others:
        other = Counting(loaded)
        expected = other.encode(TEXTS)
        assert np.array_equal(encode_kept(store, other)(TEXTS), expected)
        assert len(other.asked) == 2


def test_without_a_store_it_is_the_encoder(encoder: Counting) -> None:
    assert encode_kept(None, encoder) == encoder.encode
