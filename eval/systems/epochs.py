"""Training a small network epoch by epoch until validation gains nothing more, with a checkpoint after each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from webrec.errors import TrainingError
from webrec.eval.data.dataset import RankingExample
from webrec.eval.metrics.ranking import ndcg, target_ranks
from webrec.eval.systems.epoch_checkpoint import Checkpoint, Epoch

if TYPE_CHECKING:
    import torch

Piece = TypeVar("Piece")


@dataclass(frozen=True, slots=True)
class Plan:
    """How to train. `patience`: epochs without a better validation value after which to stop."""

    epochs: int
    patience: int
    batch: int
    learning_rate: float
    seed: int

    def told(self) -> dict[str, Any]:
        """The fields, for an identity."""
        return {name: getattr(self, name) for name in self.__slots__}


def train(
    network: Any,
    pieces: Sequence[Piece],
    loss_of: Callable[[Sequence[Piece]], tuple[torch.Tensor, int]],
    plan: Plan,
    validate: Callable[[], float] | None,
    checkpoint: Checkpoint | None,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
) -> list[Epoch]:
    """Adam until `plan.epochs`, or until `validate` has not risen for `plan.patience` of them; the best weights stay.

    `loss_of`: of a batch, the mean over its targets (nats), and how many there are. With a `checkpoint`, a run that was cut short
    goes on after its last whole epoch, with the numbers it would have had. `on_epoch` hears of each. Raises `TrainingError` if the loss is no number.
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
            loss, targets = loss_of(batch)
            if not torch.isfinite(loss):
                raise TrainingError(f"the loss is {loss.item()} in epoch {epoch}; use a lower learning_rate")
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            total, count = total + loss.item() * targets, count + targets
        network.eval()
        value = validate() if validate else None
        if value is None or value > max((e.validation for e in curve if e.validation is not None), default=-1.0):
            best = {name: weight.clone() for name, weight in network.state_dict().items()}
        curve.append(Epoch(epoch, total / count, value, round(time.perf_counter() - started, 3)))
        if checkpoint:
            checkpoint.keep(network, optimiser, best, curve)
        on_epoch(curve[-1])
    if best:
        network.load_state_dict(best)
    network.eval()
    return curve


def mean_ndcg(scores: Sequence[Sequence[float]], examples: Sequence[RankingExample]) -> float:
    """NDCG@10 over examples: what decides when to stop."""
    values = [
        float(ndcg(target_ranks([row], [example.candidates.index(example.target)]), 10)[0])
        for row, example in zip(scores, examples, strict=True)
    ]
    return sum(values) / len(values)


def example_told(example: RankingExample) -> list[Any]:
    """What of an example a training hangs on, for an identity."""
    return [example.history, example.candidates, example.target]


def _batches(pieces: Sequence[Piece], size: int) -> Iterator[list[Piece]]:
    import torch

    order = torch.randperm(len(pieces)).tolist()
    for start in range(0, len(order), size):
        yield [pieces[place] for place in order[start : start + size]]


def _enough(curve: Sequence[Epoch], patience: int) -> bool:
    values = [e.validation for e in curve if e.validation is not None]
    return len(values) > patience and len(values) - 1 - values.index(max(values)) >= patience
