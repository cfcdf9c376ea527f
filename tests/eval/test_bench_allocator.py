"""The allocator's limits are measured as `webrec` sets them, and its table says what was measured."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from webrec import allocator
from webrec.allocator import LIMITS, limit_allocator
from webrec.eval.bench_allocator import WAYS, allocator_table, measure_allocator
from webrec.eval.bench_score import summary


def test_the_command_sets_what_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[int, int] = {}

    class Library:
        def __init__(self, name: str | None) -> None:
            assert name is None

        def mallopt(self, option: int, value: int) -> int:
            given[option] = value
            return 1

    monkeypatch.setattr(ctypes, "CDLL", Library)
    monkeypatch.setattr(allocator.sys, "platform", "linux")
    for name in LIMITS:
        monkeypatch.delenv(name, raising=False)
    limit_allocator()
    assert given == dict(LIMITS.values())
    assert len(given) == 3
    given.clear()
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1")
    limit_allocator()
    assert len(given) == 2  # what the user set stays


def test_the_studio_sets_the_same() -> None:
    makefile = (Path(__file__).parents[2] / "Makefile").read_text(encoding="utf-8")
    assert dict(re.findall(r"\b(MALLOC_\w+)=(\d+)", makefile)) == {n: str(value) for n, (_, value) in LIMITS.items()}


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator.sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: pytest.fail("no library is asked"))
    limit_allocator()


def test_the_table() -> None:
    over = {way: summary([1.0, 1.0 + place]) for place, way in enumerate(WAYS)}
    rows: list[dict[str, Any]] = [{"dtype": "float32", "tokens": 9, "over_the_first": over}]
    lines = allocator_table(rows).splitlines()
    assert lines[0] == "| format | without a limit for trimming | glibc's own |"
    assert lines[2] == "| float32 | 1.50 (1.00-2.00) | 2.00 (1.00-3.00) |"


@pytest.mark.slow
def test_each_way_once() -> None:
    (row,) = measure_allocator(1, 60, ("float32",), say=lambda _: None)
    assert row["over_the_first"]["as webrec sets them"]["median"] == 1
    assert set(row["over_the_first"]) == set(WAYS)
