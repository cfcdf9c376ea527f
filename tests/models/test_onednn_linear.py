"""float32 products by oneDNN against float64, and which layers get them."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from webrec.models import onednn_linear
from webrec.models.onednn_linear import OneDnnLinear, is_plain, product, to_onednn

needs_operator = pytest.mark.skipif(
    not hasattr(torch.ops.mkldnn, "_linear_pointwise"), reason="this torch has no oneDNN operator"
)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def frozen(inputs: int, outputs: int, bias: bool = True) -> OneDnnLinear:
    torch.manual_seed(0)
    return OneDnnLinear(inputs, outputs, bias=bias).requires_grad_(False)


@needs_operator
@given(st.lists(st.integers(1, 9), max_size=2), st.integers(1, 70), st.integers(1, 70), st.booleans())
def test_the_product_is_that_of_float64(rows: list[int], inputs: int, outputs: int, bias: bool) -> None:
    layer, read = frozen(inputs, outputs, bias), normal(*rows, inputs)
    exact = deepcopy(layer).double()
    torch.testing.assert_close(layer(read).double(), exact(read.double()), rtol=1e-5, atol=1e-5)


@needs_operator
def test_the_gradient_is_that_of_float64_for_views_too() -> None:
    layer, whole = frozen(24, 40), normal(5, 24, 3).requires_grad_()
    sent = normal(5, 1, 40).expand(5, 3, 40)  # neither is contiguous
    layer(whole.mT).backward(sent)
    twin = whole.detach().double().requires_grad_()
    deepcopy(layer).double()(twin.mT).backward(sent.double())
    assert whole.grad is not None
    assert twin.grad is not None
    torch.testing.assert_close(whole.grad.double(), twin.grad, rtol=1e-5, atol=1e-5)


@needs_operator
def test_weights_that_are_trained_and_other_formats_go_the_usual_way() -> None:
    layer = frozen(4, 3).requires_grad_(True)
    layer(normal(2, 4)).sum().backward()
    assert layer.weight.grad is not None
    torch.testing.assert_close(layer.weight.grad, normal(2, 4).sum(0).expand(3, 4))
    assert frozen(4, 3).double()(normal(2, 4).double()).dtype == torch.float64


@needs_operator
@pytest.mark.parametrize("turned", [False, True])
def test_a_product_of_matrices(turned: bool) -> None:
    first, second = normal(7, 20), normal(20, 9, seed=1).t() if turned else normal(9, 20, seed=1)
    torch.testing.assert_close(product(first, second), first @ second.t(), rtol=1e-5, atol=1e-5)


class Own(nn.Linear):
    pass


def test_which_layers_are_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    def model() -> nn.ModuleList:
        turned = nn.Linear(3, 4)
        turned.weight = nn.Parameter(normal(3, 4).t())
        return nn.ModuleList([nn.Linear(3, 4), Own(3, 4), nn.Linear(3, 4).double(), nn.Linear(3, 4).bfloat16(), turned])

    for quicker, first in ((True, OneDnnLinear), (False, nn.Linear)):
        monkeypatch.setattr(onednn_linear, "is_quicker", lambda quicker=quicker: quicker)
        changed = model()
        before = changed[0].weight
        to_onednn(changed)
        assert [type(layer) for layer in changed] == [first, Own, nn.Linear, nn.Linear, nn.Linear]
        assert changed[0].weight is before
        assert [is_plain(layer) for layer in changed] == [True, False, True, True, True]
