"""The real all-MiniLM-L6-v2 (fetched on first use)."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from webrec.models.sentence_encoder import SentenceEncoder, get_sentence_encoder

pytestmark = pytest.mark.slow
TEXTS = [
    "a warm woollen scarf for the winter",
    "a knitted shawl that keeps you warm in cold weather",
    "how to change the oil filter of a car",
    "",
    "scarf",
    "long " * 600,
]


@pytest.fixture(scope="module")
def encoder() -> SentenceEncoder:
    return get_sentence_encoder()


def test_shape_and_length(encoder: SentenceEncoder) -> None:
    vectors = encoder.encode(TEXTS)
    assert (vectors.shape, vectors.dtype) == ((len(TEXTS), 384), np.float32)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert encoder.encode([]).shape == (0, 384)


def test_similar_sentences_are_nearer(encoder: SentenceEncoder) -> None:
    scarf, shawl, car = encoder.encode(TEXTS[:3])
    assert scarf @ shawl > 0.5
    assert scarf @ car < 0.2


def test_neighbours_in_the_batch_change_nothing(encoder: SentenceEncoder) -> None:
    texts = TEXTS * 4  # several batches, short beside long
    together = encoder.encode(texts)
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    assert np.abs(together - np.tile(alone, (4, 1))).max() < 1e-5


def test_is_loaded_once(encoder: SentenceEncoder) -> None:
    assert get_sentence_encoder() is get_sentence_encoder("minilm") is encoder


def test_equals_a_reading_of_the_definition(encoder: SentenceEncoder) -> None:
    """Mean of the last layer over the real tokens, by hand."""
    import torch

    for text in TEXTS[:5]:
        encoder.loaded.tokenizer.no_padding()
        try:
            ids = encoder.loaded.tokenizer.encode(text).ids
        finally:
            encoder.loaded.tokenizer.enable_padding()
        with torch.inference_mode():
            mean = encoder.loaded.model(torch.tensor([ids])).last_hidden_state[0].mean(0)
        assert encoder.encode([text])[0] == pytest.approx((mean / mean.norm()).numpy(), abs=1e-5)


def test_nothing_is_said_of_weights_that_are_not_needed() -> None:
    # In a process of its own: transformers writes to what standard error was when it was imported.
    code = "from webrec.models.sentence_encoder import _minilm; _minilm()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
