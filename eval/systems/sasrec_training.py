"""The training of SASRec: batches, loss, when to stop, and a checkpoint after every epoch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from webrec.errors import TrainingError
from webrec.eval.systems.sasrec_checkpoint import Checkpoint, Epoch
from webrec.eval.systems.sasrec_network import hidden_states, item_vectors, left_padded

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Plan:
    """How to train. `patience`: epochs without a better validation value after which to stop."""

    epochs: int
    patience: int
    batch: int
    learning_rate: float
    seed: int


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


def train(
    network: Any,
    pieces: Sequence[Sequence[int]],
    padding: int,
    plan: Plan,
    validate: Callable[[], float] | None,
    checkpoint: Checkpoint | None,
) -> list[Epoch]:
    """Train `network` in place and leave it with the weights of the best epoch (without `validate`: of the last).

    With a `checkpoint`, a run that was cut short goes on after its last whole epoch, with the numbers it would have had.
    Raises `TrainingError` if the loss is no number.
    """
    import torch

    optimiser = torch.optim.Adam(network.parameters(), lr=plan.learning_rate, betas=(0.9, 0.98))
    curve, best = checkpoint.resume(network, optimiser) if checkpoint else ([], {})
    for epoch in range(len(curve) + 1, plan.epochs + 1):
        if _enough(curve, plan.patience):
            break
        started = time.perf_counter()
        torch.manual_seed(plan.seed * 100_003 + epoch)  # by epoch, so that a resumed run draws the same numbers
        total, count = 0.0, 0
        network.train()
        for batch in _batches(pieces, plan.batch):
            loss = batch_loss(network, batch, padding)
            if not torch.isfinite(loss):
                raise TrainingError(f"SASRec's loss is {loss.item()} in epoch {epoch}; use a lower learning_rate")
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            targets = sum(len(piece) - 1 for piece in batch)
            total, count = total + loss.item() * targets, count + targets
        network.eval()
        value = validate() if validate else None
        if value is None or value > max((e.validation for e in curve if e.validation is not None), default=-1.0):
            best = {name: weight.clone() for name, weight in network.state_dict().items()}
        curve.append(Epoch(epoch, total / count, value, round(time.perf_counter() - started, 3)))
        if checkpoint:
            checkpoint.keep(network, optimiser, best, curve)
    if best:
        network.load_state_dict(best)
    network.eval()
    return curve


def _batches(pieces: Sequence[Sequence[int]], size: int) -> Iterator[list[Sequence[int]]]:
    import torch

    order = torch.randperm(len(pieces)).tolist()
    for start in range(0, len(order), size):
        yield [pieces[place] for place in order[start : start + size]]


def _enough(curve: Sequence[Epoch], patience: int) -> bool:
    values = [e.validation for e in curve if e.validation is not None]
    return len(values) > patience and len(values) - 1 - values.index(max(values)) >= patience
