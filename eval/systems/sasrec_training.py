"""What SASRec learns from: pieces of sequences, and the loss of a batch of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from webrec.eval.systems.sasrec_network import hidden_states, item_vectors, left_padded

if TYPE_CHECKING:
    import torch


def windows(sequences: Sequence[Sequence[int]], max_length: int) -> list[Sequence[int]]:
    """Pieces of at most `max_length` + 1 items, cut from the end, so that every item but a user's first is a target once."""
    pieces = []
    for sequence in sequences:
        end = len(sequence)
        while end > 1:
            pieces.append(sequence[max(0, end - max_length - 1) : end])
            end -= max_length
    return pieces


def batch_loss(network: Any, pieces: Sequence[Sequence[int]], padding: int) -> torch.Tensor:
    """Mean cross-entropy of each next item against all items (Klenitskiy and Vasilev 2023, instead of the one negative of 2018)."""
    import torch

    targets = left_padded([piece[1:] for piece in pieces], padding)
    states = hidden_states(network, left_padded([piece[:-1] for piece in pieces], padding), padding)
    real = targets != padding
    return torch.nn.functional.cross_entropy(states[real] @ item_vectors(network).T, targets[real])
