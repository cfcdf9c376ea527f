"""SASRec's network, as the library RePlay builds it, and the tensors that go into it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from webrec.errors import missing_extra

if TYPE_CHECKING:
    import torch

TOKENS = "item_id"
"""The library's name for the one input."""


def build_network(items: int, width: int, blocks: int, heads: int, max_length: int, dropout: float) -> Any:
    """The library's `SasRec` over `items` items, random weights from torch's current seed; item number `items` is padding.

    Raises `MissingExtraError` without the library.
    """
    try:
        from replay.data import FeatureHint, FeatureSource, FeatureType
        from replay.data.nn import TensorFeatureInfo, TensorFeatureSource, TensorSchema
        from replay.nn.sequential.sasrec import SasRec
    except ImportError as error:
        raise missing_extra("sasrec", "replay-rec") from error
    schema = TensorSchema(
        [
            TensorFeatureInfo(
                TOKENS,
                is_seq=True,
                feature_type=FeatureType.CATEGORICAL,
                feature_hint=FeatureHint.ITEM_ID,
                feature_sources=[TensorFeatureSource(FeatureSource.INTERACTIONS, TOKENS)],
                embedding_dim=width,
                cardinality=items,
                padding_value=items,
            )
        ]
    )
    return SasRec.from_params(
        schema,
        embedding_dim=width,
        num_heads=heads,
        num_blocks=blocks,
        max_sequence_length=max_length,
        dropout=dropout,
    )


def left_padded(sequences: Sequence[Sequence[int]], padding: int) -> torch.Tensor:
    """(sequences, longest) item numbers, each at the right end; positions are counted from there, so a shorter batch is the same."""
    import torch

    longest = max(1, max(map(len, sequences)))
    table = torch.full((len(sequences), longest), padding)
    for row, sequence in enumerate(sequences):
        if sequence:
            table[row, longest - len(sequence) :] = torch.tensor(sequence)
    return table


def hidden_states(network: Any, tokens: torch.Tensor, padding: int) -> torch.Tensor:
    """(sequences, length, width): after each item, what comes next. Rows of padding hold numbers that mean nothing."""
    states: torch.Tensor = network.body({TOKENS: tokens}, tokens != padding)
    return states


def item_vectors(network: Any) -> torch.Tensor:
    """(items, width): the embeddings, which are also the output weights."""
    vectors: torch.Tensor = network.body.embedder.get_item_weights(None)
    return vectors
