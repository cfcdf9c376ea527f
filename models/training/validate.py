"""How well an adapter ranks the candidates of examples it is not trained on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from webrec.errors import TrainingError
from webrec.models.adapter import AdaptedLlama
from webrec.models.packing import EncodedExample, candidate_likelihoods, pack
from webrec.models.training.config import TrainingConfig
from webrec.models.training.losses import losses, scores


@dataclass(frozen=True)
class Validation:
    """Means over the examples."""

    ndcg10: float
    hr10: float
    loss: float


@torch.no_grad()
def validate(
    adapted: AdaptedLlama,
    examples: Sequence[EncodedExample],
    config: TrainingConfig,
    *,
    rank: int = 0,
    world: int = 1,
    add_up: Callable[[torch.Tensor], None] = lambda _: None,
) -> Validation:
    """Rank every example's candidates by `config.score_by`; ties count against the target.

    With several processes each takes its share, and `add_up` sums a tensor over them in place.
    """
    was_training = adapted.training
    adapted.eval()
    soft_prompt, device = adapted.soft_prompt(), adapted.llama.device
    virtual = 0 if soft_prompt is None else len(soft_prompt)
    found = torch.zeros(2, len(examples), dtype=torch.float64, device=device)  # the target's rank, and the loss
    for number in range(rank, len(examples), world):
        batch = pack([examples[number]], virtual, device)
        totals = candidate_likelihoods(adapted, batch)
        by_score = scores(totals, batch, config.score_by)
        found[0, number] = (~(by_score < by_score[examples[number].target])).sum()
        # Validation loss is that of the trained loss, over all candidates.
        found[1, number] = losses(totals, batch, config)[0]
    add_up(found)
    adapted.train(was_training)
    ranks, lost = found.tolist()
    if wrong := [e.key for e, loss in zip(examples, lost, strict=True) if not math.isfinite(loss)]:
        raise TrainingError(
            f"valid: the loss of example {wrong[0]} is not finite ({len(wrong)} in all); look at it, or lower learning_rate"
        )
    return Validation(
        ndcg10=sum(1 / math.log2(1 + r) for r in ranks if r <= 10) / len(ranks),
        hr10=sum(r <= 10 for r in ranks) / len(ranks),
        loss=sum(lost) / len(lost),
    )
