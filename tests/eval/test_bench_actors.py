"""The measurement of one and two actors runs, and its table says what it measured."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("ray")

from webrec.eval.bench_actors import actors_table, measure_actors

HOWS = ["plain loop", "webrec eval", "webrec eval --ray --actors 1", "webrec eval --ray --actors 2"]


@pytest.mark.slow
def test_each_way_once(tiny_bytes: Path) -> None:
    rows = measure_actors(str(tiny_bytes), rounds=1, users=40, say=lambda _: None)
    assert [row["how"] for row in rows] == HOWS
    assert all(row["examples"] >= 8 and row["examples_per_second"] > 0 for row in rows)


def test_the_table() -> None:
    rows = [
        {
            "round": n,
            "how": how,
            "examples": 9,
            "examples_per_second": (place + 1) * (n + 1),
            "seconds_to_the_first": 2.0,
        }
        for n in range(2)
        for place, how in enumerate(HOWS)
    ]
    lines = actors_table({"actors": rows}).splitlines()
    assert lines[2] == "| plain loop | 1.00, 2.00 | 1.00, 1.00 | 2, 2 |"
    assert lines[5] == "| `webrec eval --ray --actors 2` | 4.00, 8.00 | 4.00, 4.00 | 2, 2 |"
