"""What allocators cost: the table says what was measured."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")

from webrec.eval.bench_allocator import WAYS, allocator_table, measure_allocator
from webrec.eval.bench_score import summary


def test_the_table() -> None:
    over = {way: summary([1.0, 1.0 + place]) for place, way in enumerate(WAYS)}
    rows: list[dict[str, Any]] = [{"dtype": "float32", "tokens": 9, "over_the_first": over}]
    lines = allocator_table(rows).splitlines()
    assert lines[0] == "| format | without a limit for trimming | with MKL's buffers kept | glibc's and MKL's own |"
    assert lines[2] == "| float32 | 1.50 (1.00-2.00) | 2.00 (1.00-3.00) | 2.50 (1.00-4.00) |"


@pytest.mark.slow
def test_each_way_once() -> None:
    (row,) = measure_allocator(1, 60, ("float32",), say=lambda _: None)
    assert row["over_the_first"]["as webrec sets them"]["median"] == 1
    assert set(row["over_the_first"]) == set(WAYS)
