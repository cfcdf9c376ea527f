"""Log-probabilities of chosen tokens against the logits of the whole vocabulary."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from webrec.models import vocabulary
from webrec.models.int8 import Int8Linear, is_exact
from webrec.models.vocabulary import log_probabilities


class Shifted(nn.Linear):
    """Whose logits no part of its weights tells."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(input) + torch.arange(self.out_features)


def head(kind: str, tokens: int) -> nn.Linear:
    torch.manual_seed(tokens)
    plain = nn.Linear(12, tokens, bias=kind == "bias")
    if kind == "int8":
        return Int8Linear(plain.weight)
    if kind == "changed":
        changed = Shifted(12, tokens, bias=False)
        changed.load_state_dict(plain.state_dict())
        return changed
    return plain.requires_grad_(False)


KINDS = ["plain", "bias", "changed", *(["int8"] if is_exact() else [])]


@torch.inference_mode()
@given(st.sampled_from(KINDS), st.integers(1, 60), st.lists(st.tuples(st.integers(0, 4), st.integers(0, 999))))
def test_equals_the_softmax_over_all(kind: str, size: int, pairs: list[tuple[int, int]]) -> None:
    layer, hidden = head(kind, size), torch.randn(5, 12, generator=torch.Generator().manual_seed(size)) * 9
    rows = torch.tensor([row for row, _ in pairs], dtype=torch.long)
    tokens = torch.tensor([token % size for _, token in pairs], dtype=torch.long)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vocabulary, "TOKENS", 7)
        found = log_probabilities(layer, hidden, rows, tokens)
    expected = layer(hidden).double().log_softmax(-1)[rows, tokens]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-4)


def test_never_holds_logits_of_the_whole_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "TOKENS", 7)
    layer, widest = head("plain", 100), []
    linear = nn.functional.linear

    def watched(*args: torch.Tensor, **named: torch.Tensor) -> torch.Tensor:
        widest.append((logits := linear(*args, **named)).shape[-1])
        return logits

    monkeypatch.setattr(nn.functional, "linear", watched)
    with torch.inference_mode():
        log_probabilities(layer, torch.randn(5, 12), torch.tensor([0, 4]), torch.tensor([3, 99]))
    assert max(widest) == 7
    assert sum(widest) == 100


@torch.inference_mode()
def test_what_a_number_format_cannot_hold_is_not_hidden() -> None:
    layer = head("plain", 20)
    layer.weight[3] = torch.nan
    found = log_probabilities(layer, torch.randn(2, 12), torch.tensor([0, 1]), torch.tensor([3, 5]))
    assert bool(found.isnan().all())
