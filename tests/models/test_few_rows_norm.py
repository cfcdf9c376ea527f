"""The norm of a few rows against the formula in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from webrec.models.few_rows_norm import few_rows_norm


def made(width: int, eps: float, seed: int = 0) -> LlamaRMSNorm:
    norm = LlamaRMSNorm(width, eps).requires_grad_(False)
    norm.weight.normal_(generator=torch.Generator().manual_seed(seed))
    return norm


@given(
    st.integers(1, 70),
    st.integers(1, 5),
    st.sampled_from([1e-6, 1e-5, 0.3]),
    st.floats(-6, 6),
    st.integers(0, 100),
)
@settings(deadline=None)
def test_is_the_formula(width: int, rows: int, eps: float, magnitude: float, seed: int) -> None:
    norm = made(width, eps, seed)
    x = torch.randn(2, rows, width, generator=torch.Generator().manual_seed(seed + 1)) * 10**magnitude
    exact = x.double()
    expected = exact / (exact.square().mean(-1, keepdim=True) + eps).sqrt() * norm.weight.double()
    torch.testing.assert_close(few_rows_norm(norm)(x).double(), expected, rtol=2e-6, atol=1e-12)


def test_zeros_stay_zero() -> None:
    assert torch.equal(few_rows_norm(made(8, 1e-5))(torch.zeros(1, 2, 8)), torch.zeros(1, 2, 8))


def test_others_are_called_as_they_are() -> None:
    class Own(LlamaRMSNorm):
        pass

    hooked = made(8, 1e-5)
    hooked.register_forward_hook(lambda *_: None)
    for module in (Own(8), torch.nn.LayerNorm(8), made(8, 1e-5).bfloat16(), made(8, 1e-5).double(), hooked):
        assert few_rows_norm(module) is module


@pytest.mark.parametrize("width", [576, 4096])
def test_differs_from_llamas_own_by_rounding_alone(width: int) -> None:
    norm, x = made(width, 1e-5), torch.randn(1, 7, width, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(few_rows_norm(norm)(x), norm(x), rtol=1e-5, atol=1e-6)
