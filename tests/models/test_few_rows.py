"""Products of a few rows against float64, with and without the way that one row has on CPUs with AVX2 alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from webrec.models import few_rows
from webrec.models.few_rows import FewRows, has_avx2_alone
from webrec.models.onednn_linear import can_block

needs_blocks = pytest.mark.skipif(not can_block(torch.float32), reason="this torch has no blocked products")


@pytest.fixture
def _asked_again() -> Iterator[None]:
    has_avx2_alone.cache_clear()
    yield
    has_avx2_alone.cache_clear()


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@needs_blocks
@given(
    rows=st.lists(st.integers(1, 3), max_size=2),
    outputs=st.integers(1, 70),
    inputs=st.integers(1, 70),
    bias=st.booleans(),
    alone=st.booleans(),
)
def test_the_product_is_that_of_float64(rows: list[int], outputs: int, inputs: int, bias: bool, alone: bool) -> None:
    weight, offset = normal(outputs, inputs), normal(outputs, seed=1) if bias else None
    read = normal(*rows, inputs, seed=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(few_rows, "has_avx2_alone", lambda: alone)
        product = FewRows(weight, offset)
    assert (product._turned is not None) == alone
    expected = read.double() @ weight.double().T + (0 if offset is None else offset.double())
    found = product(read)
    assert found.shape == expected.shape
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


@needs_blocks
def test_weights_that_are_read_as_they_are_are_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(few_rows, "has_avx2_alone", lambda: True)
    wide, tall = normal(8, 16), normal(16, 8)
    for weight, shared in ((wide, True), (tall, False)):
        turned = FewRows(weight)._turned
        assert turned is not None
        assert (turned.data_ptr() == weight.data_ptr()) == shared


@pytest.mark.usefixtures("_asked_again")
@pytest.mark.parametrize(
    ("told", "alone"),
    [
        ({"architecture": "x86_64", "avx512_f": False}, True),
        ({"architecture": "x86_64", "avx512_f": True}, False),
        ({"architecture": "aarch64"}, False),
        ({}, False),
    ],
)
def test_who_has_avx2_alone(told: dict[str, object], alone: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(few_rows, "capabilities", lambda: told)
    assert has_avx2_alone() == alone
