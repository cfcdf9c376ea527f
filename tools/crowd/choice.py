"""Conditional logit (McFadden 1974): which of some candidates is taken, from the features of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from webrec.tools.crowd.pairs import Floats, Ints

_STEPS = 100
_CLOSE = 1e-8


@dataclass(frozen=True, slots=True)
class ChoiceModel:
    """P(candidate i) = softmax_i(weights · (x_i / scales)) over the candidates of one example. `names`: of the features.

    What is the same for all candidates of an example cancels, so there is no intercept, and features need no centring.
    """

    names: tuple[str, ...]
    scales: Floats
    weights: Floats

    def score(self, features: Floats) -> Floats:
        """Log-odds (nats) up to what all candidates of an example share. `features`: (..., candidates, features)."""
        scored: Floats = features @ (self.weights / self.scales)
        return scored


def fit_choice(names: Sequence[str], features: Floats, targets: Ints, penalty: float) -> ChoiceModel:
    """Minimise sum_n -ln P(target_n) + penalty / 2 · ||weights||^2 by Newton's method; the loss is convex.

    `features`: (examples, candidates, features); `targets`: the place of each example's target. Scales are the features'
    deviations from the mean of their example, over all examples (1 where there is none). Raises `ValueError` for no example,
    for what is not finite, and for a penalty that is not positive.
    """
    if not len(features) or not np.isfinite(features).all():
        raise ValueError("a choice model needs examples, and finite features")
    if not penalty > 0:
        raise ValueError("penalty must be above 0")
    apart = features - features.mean(1, keepdims=True)
    scales = np.sqrt((apart**2).mean((0, 1)))
    scales = np.where(scales > 1e-12, scales, 1.0)
    x = apart / scales
    rows = np.arange(len(x))
    weights = np.zeros(x.shape[2])
    loss, gradient, hessian = _derivatives(x, rows, targets, weights, penalty)
    for _ in range(_STEPS):
        step = np.linalg.solve(hessian, gradient)
        if float(gradient @ step) < _CLOSE:
            break
        size = 1.0
        while True:  # shorter until it helps
            new = _derivatives(x, rows, targets, weights - size * step, penalty)
            if new[0] <= loss - 1e-4 * size * float(gradient @ step) or size < 1e-6:
                break
            size /= 2
        weights = weights - size * step
        loss, gradient, hessian = new
    return ChoiceModel(tuple(names), scales, weights)


def _derivatives(x: Floats, rows: Ints, targets: Ints, weights: Floats, penalty: float) -> tuple[float, Floats, Floats]:
    scores = x @ weights
    scores = scores - scores.max(1, keepdims=True)
    shares = np.exp(scores)
    total = shares.sum(1, keepdims=True)
    shares = shares / total
    loss = float((np.log(total[:, 0]) - scores[rows, targets]).sum() + penalty / 2 * weights @ weights)
    expected = np.einsum("nc,ncf->nf", shares, x)
    gradient = (expected - x[rows, targets]).sum(0) + penalty * weights
    weighted = (x * np.sqrt(shares)[:, :, None]).reshape(-1, x.shape[2])
    hessian = weighted.T @ weighted - expected.T @ expected + penalty * np.eye(len(weights))
    return loss, gradient, hessian


def with_ranks(scores: Floats) -> list[Floats]:
    """A score as evidence: itself, and the share of the other candidates that it is above, equal ones counting half."""
    above = (scores[:, None] > scores[None, :]).sum(1) + ((scores[:, None] == scores[None, :]).sum(1) - 1) / 2
    return [scores, above / max(1, len(scores) - 1)]
