"""8-bit products of a few rows: the integers of `Int8Linear`."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from webrec.models.int8 import LEVELS, Int8Linear, quantised
from webrec.models.int8_few_rows import Int8FewRows, Int8FewRowsInFloat, is_fast
from webrec.models.onednn_linear import can_block

FewRows = type[Int8FewRows] | type[Int8FewRowsInFloat]

each = pytest.mark.parametrize(
    "few_rows",
    [
        pytest.param(
            Int8FewRows,
            marks=pytest.mark.skipif(
                not is_fast(), reason="this torch or CPU has no quick 8-bit products of a few rows"
            ),
        ),
        pytest.param(
            Int8FewRowsInFloat,
            marks=pytest.mark.skipif(not can_block(torch.float32), reason="this torch has no blocked products"),
        ),
    ],
)


def layer(outputs: int, inputs: int, seed: int, bias: bool = False) -> Int8Linear:
    draw = torch.Generator().manual_seed(seed)
    weight = torch.randn(outputs, inputs, generator=draw)
    return Int8Linear(weight, torch.randn(outputs, generator=draw) if bias else None)


def close(first: torch.Tensor, second: torch.Tensor) -> bool:
    return torch.allclose(first, second, rtol=1e-6, atol=1e-6 * float(second.abs().max()))


@each
# With one input torch._int_mm, which the plain layer calls, is wrong in torch 2.13.
@given(
    outputs=st.integers(1, 70),
    inputs=st.integers(2, 150),
    rows=st.integers(1, 20),
    bias=st.booleans(),
    seed=st.integers(0, 9),
)
def test_equals_the_plain_layer(few_rows: FewRows, outputs: int, inputs: int, rows: int, bias: bool, seed: int) -> None:
    plain = layer(outputs, inputs, seed, bias)
    read = torch.randn(2, rows, inputs, generator=torch.Generator().manual_seed(seed + 1))
    product = few_rows([plain])(read)
    assert (product.shape, product.dtype) == ((2, rows, outputs), torch.float32)
    assert close(product, plain(read))


@each
@pytest.mark.parametrize("bias", [False, True])
def test_several_layers_side_by_side(few_rows: FewRows, bias: bool) -> None:
    layers = [layer(outputs, 40, seed, bias) for seed, outputs in enumerate((8, 3, 21))]
    read = torch.randn(5, 40, generator=torch.Generator().manual_seed(1))
    assert close(few_rows(layers)(read), torch.cat([one(read) for one in layers], -1))


@each
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_largest_sums_are_exact(few_rows: FewRows, sign: float) -> None:
    # Of other CPUs some add pairs in 16 bits, where these would not fit.
    plain = Int8Linear(torch.ones(3, 1536))
    read = torch.full((2, 1536), sign)
    integers, own = quantised(read)
    assert int(integers.abs().min()) == LEVELS
    expected = integers.double() @ plain.weight.double().T * plain.scale.double() * own.double()
    torch.testing.assert_close(few_rows([plain])(read).double(), expected, rtol=1e-6, atol=0)


@each
def test_rows_do_not_depend_on_one_another(few_rows: FewRows) -> None:
    product = few_rows([layer(16, 24, 0)])
    read = torch.randn(9, 24, generator=torch.Generator().manual_seed(1))
    read[3] *= 1e4
    assert torch.equal(product(read), torch.cat([product(row[None]) for row in read]))
