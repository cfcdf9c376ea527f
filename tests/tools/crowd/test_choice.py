"""The conditional logit against its definition."""

from __future__ import annotations

import numpy as np
import pytest

from webrec.tools.crowd.choice import fit_choice

TRUE = np.array([1.5, -0.7, 0.0])


def choices(examples: int, seed: int = 0, candidates: int = 6) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(examples, candidates, 3)) * [1, 2, 5]
    noise = generator.gumbel(size=(examples, candidates))
    return features, np.argmax(features @ (TRUE / [1, 2, 5]) + noise, axis=1)


def test_it_finds_what_made_the_choices() -> None:
    model = fit_choice("abc", *choices(4000), penalty=1e-3)
    assert model.weights / model.scales * [1, 2, 5] == pytest.approx(TRUE, abs=0.08)
    assert model.names == ("a", "b", "c")


def test_the_loss_is_least_there() -> None:
    features, targets = choices(200)
    penalty = 5.0
    model = fit_choice("abc", features, targets, penalty)

    def loss(weights: np.ndarray) -> float:
        total = penalty / 2 * float(weights @ weights)
        for row, target in zip(features, targets, strict=True):
            scores = row @ (weights / model.scales)
            total += float(np.log(np.exp(scores).sum()) - scores[target])
        return total

    least = loss(model.weights)
    for place in range(3):
        for change in (-0.01, 0.01):
            moved = model.weights.copy()
            moved[place] += change
            assert loss(moved) > least


def test_a_larger_penalty_gives_smaller_weights_and_a_constant_feature_none() -> None:
    features, targets = choices(300)
    features[:, :, 2] = 7.0
    weak, strong = (fit_choice("abc", features, targets, penalty) for penalty in (1.0, 1000.0))
    assert np.abs(strong.weights[:2]).sum() < np.abs(weak.weights[:2]).sum()
    assert weak.weights[2] == pytest.approx(0, abs=1e-9)


def test_a_score_is_the_same_for_candidates_in_any_order_and_scale() -> None:
    features, targets = choices(300)
    model = fit_choice("abc", features, targets, 1.0)
    assert model.score(features[0][::-1]) == pytest.approx(model.score(features[0])[::-1])
    scaled = fit_choice("abc", features * [10, 1, 0.1], targets, 1.0)
    assert scaled.score(features[0] * [10, 1, 0.1]) == pytest.approx(model.score(features[0]))


def test_wrong_input() -> None:
    features, targets = choices(10)
    with pytest.raises(ValueError, match="needs examples"):
        fit_choice("abc", features[:0], targets[:0], 1.0)
    with pytest.raises(ValueError, match="finite"):
        fit_choice("abc", features * np.nan, targets, 1.0)
    with pytest.raises(ValueError, match="penalty must be above 0"):
        fit_choice("abc", features, targets, 0.0)
