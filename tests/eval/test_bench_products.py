"""What oneDNN's products bring: measured by both ways, and everything put back."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from torch import nn

from webrec.eval import bench_products
from webrec.eval.bench_products import measure_products, products_table
from webrec.eval.bench_score import summary
from webrec.models import onednn_linear
from webrec.models.onednn_linear import OneDnnLinear, to_onednn


def test_the_table() -> None:
    lines = products_table([{"work": "reading", "mkl_over_onednn": summary([1.5, 2.0, 2.5])}]).splitlines()
    assert lines[2] == "| reading | 2.00 (1.50-2.50) |"


def test_each_way_is_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn_linear, "is_quicker", lambda: True)
    model = nn.ModuleList([nn.Linear(3, 3)])
    to_onednn(model)
    seen: list[tuple[type, bool]] = []
    works = {"looking": (model, lambda: seen.append((type(model[0]), onednn_linear.is_quicker())))}
    monkeypatch.setattr(bench_products, "_works", lambda: works)
    (row,) = measure_products(2, say=lambda _: None)
    assert seen == [(OneDnnLinear, True), (nn.Linear, False)] * 3
    assert row["mkl_over_onednn"]["rounds"] == 2
    assert type(model[0]) is OneDnnLinear
    monkeypatch.setattr(onednn_linear, "is_quicker", lambda: False)
    assert measure_products(1, say=lambda _: None) == []
