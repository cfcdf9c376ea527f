"""Whole numbers of 8 bits multiplied in float32: every sum as integers give it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from webrec.models import int8, int8_in_float
from webrec.models.int8 import Int8Linear
from webrec.models.int8_in_float import inputs_together, product, total


def integers(*shape: int, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(-127, 128, shape, generator=draw, dtype=torch.int8)


@given(st.integers(1, 9), st.integers(1, 2100), st.integers(1, 9), st.booleans(), st.integers(0, 9))
def test_equals_the_product_of_integers(rows: int, inputs: int, outputs: int, turned: bool, seed: int) -> None:
    first, second = integers(rows, inputs, seed=seed), integers(inputs, outputs, seed=seed + 1)
    if turned:
        second = second.t().contiguous().t()
    assert torch.equal(product(first, second), (first.long() @ second.long()).float())


def test_more_outputs_than_are_held_at_a_time() -> None:
    first, second = integers(3, 40), integers(40, 4500, seed=1)
    assert torch.equal(product(first, second), (first.long() @ second.long()).float())


@pytest.mark.parametrize("inputs", [1024, 1025, 5000])
def test_the_largest_sums(inputs: int) -> None:
    largest = torch.full((2, inputs), 127, dtype=torch.int8)
    largest[1, 0] = 126  # the two sums differ by less than the last digit of a float32, once they are large enough
    weight = torch.full((inputs, 1), 127, dtype=torch.int8)
    expected = (largest.long() @ weight.long()).float()
    assert torch.equal(product(largest, weight), expected)
    parts = inputs_together(weight.t())
    at = largest.float().split([part.shape[1] for part in parts], -1)
    assert torch.equal(total(a @ part.t() for a, part in zip(at, parts, strict=True)), expected)


def test_a_layer_gives_the_same_with_integers_and_with_floats(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    layer = Int8Linear(torch.randn(300, 1500), torch.randn(300))
    found = []
    for needed in (True, False):
        monkeypatch.setattr(int8_in_float, "is_needed", lambda needed=needed: needed)
        inputs = torch.randn(2, 5, 1500, generator=torch.Generator().manual_seed(1)).requires_grad_()
        layer(inputs).square().sum().backward()
        found.append((layer(inputs).detach(), inputs.grad))
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_who_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        for told, needed in (
            ({"architecture": "x86_64", "avx512_vnni": False}, True),
            ({"architecture": "x86_64", "avx512_vnni": True}, False),
            ({"architecture": "aarch64"}, False),
            ({}, False),
        ):
            int8_in_float.is_needed.cache_clear()
            int8.is_exact.cache_clear()
            monkeypatch.setattr(int8_in_float, "capabilities", lambda told=told: told)
            assert int8_in_float.is_needed() == needed
            if needed:
                assert int8.is_exact()
    finally:
        int8_in_float.is_needed.cache_clear()
        int8.is_exact.cache_clear()
