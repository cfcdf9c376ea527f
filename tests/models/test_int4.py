"""Products in 4 bits against float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from webrec.models.int4 import GROUP, LARGEST, Int4Product, fits, grouped, is_fast

needs_operators = pytest.mark.skipif(not is_fast(), reason="this torch or CPU has no quick 4-bit products")


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def restored(weight: torch.Tensor) -> torch.Tensor:
    integers, scale, lowest = (part.double() for part in grouped(weight))
    return (integers.unflatten(1, (-1, GROUP)) * scale[..., None] + lowest[..., None]).flatten(1)


@given(st.integers(0, 2**31 - 1), st.floats(1e-6, 1e4), st.floats(-5, 5))
def test_no_weight_is_off_by_more_than_half_a_step(seed: int, size: float, shift: float) -> None:
    weight = (normal(3, 2 * GROUP, seed=seed) + shift) * size
    step = grouped(weight)[1].double().repeat_interleave(GROUP, 1)
    assert ((restored(weight) - weight.double()).abs() <= step * 0.5001 + 1e-6 * weight.double().abs()).all()


def test_weights_of_sixteen_levels_come_through() -> None:
    levels = torch.randint(0, LARGEST + 1, (16, 4, GROUP), generator=torch.Generator().manual_seed(0))
    levels[..., 0], levels[..., 1] = 0, LARGEST  # as Q4_1 chooses its scale
    weight = (levels * normal(16, 4, 1).abs() + normal(16, 4, 1, seed=1)).flatten(1)
    assert torch.equal(grouped(weight)[0], levels.flatten(1).int())
    torch.testing.assert_close(restored(weight).float(), weight, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("bias", [None, normal(48, seed=4)])
@pytest.mark.parametrize("shape", [(GROUP,), (1, GROUP), (2, 5, GROUP * 3)])
@needs_operators
def test_product(shape: tuple[int, ...], bias: torch.Tensor | None) -> None:
    weight, inputs = normal(48, shape[-1], seed=2), normal(*shape, seed=3)
    product = Int4Product(weight, bias)(inputs)
    assert product.dtype == torch.float32
    expected = inputs.double() @ restored(weight).T + (0 if bias is None else bias.double())
    size = (inputs.double().abs() @ restored(weight).abs().T).float()
    assert ((product - expected.float()).abs() <= size * 2**-7).all()


def test_what_fits() -> None:
    assert fits(torch.zeros(32, 64))
    assert not fits(torch.zeros(33, 64))
    assert not fits(torch.zeros(32, 60))
