"""The load on a real server in small; what counts as correct; memory's slope; the tables."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langgraph_api")

from webrec.eval.bench_load import BUSY, different, growth, load_table, measure_load, requests_of
from webrec.eval.bench_users import measure_users, users_table

ALONE = {"keywords": ["wool"], "ranking": [{"title": "a", "score": -1.0}, {"title": "b", "score": -2.0}]}


@pytest.mark.slow
def test_every_run_ends_well_and_gives_its_slot_back(tiny_bytes: Path) -> None:
    report = measure_load(str(tiny_bytes), clients=12, runs=60, jobs=4, users=3)
    outcomes = report["outcomes"]
    assert (outcomes["correct"], report["wrong"]) == (60, [])
    assert outcomes["cancelled"] + outcomes.get("ended before it was cancelled", 0) == 4
    assert {k: report["slots_after"][k] for k in ("active", "pending", "running")} == dict.fromkeys(
        ("active", "pending", "running"), 0
    )
    assert report["correct_after"]
    assert report["blocking_calls"] == 0
    assert report["killed"]["correct"]
    assert report["killed"]["clients_that_saw_the_connection_fail"] > 0
    assert "60 correct" in load_table(report)


@pytest.mark.slow
def test_users_at_once_and_one_at_a_time(tiny_bytes: Path) -> None:
    settings = {"backbone": str(tiny_bytes), "dtype": "float32", "providers": ["sample"], "reasoning_tokens": 8}
    row = measure_users(settings, 200, 2, lambda _: None)
    assert row["share_of_computed_pace"] > 0
    assert row["memory_mb"][-1][0] == 200
    assert all(
        1.01 * peak >= now > 0 for (_, now), (_, peak) in zip(row["memory_mb"], row["peak_memory_mb"], strict=True)
    )
    assert 0.5 < row["peak_of_last_100_over_first_100"] < 2
    assert users_table({"rows": [{"backbone": "tiny", **row}]}).count("\n") == 3


def test_what_is_correct() -> None:
    assert different(ALONE, ALONE) is None
    for change, told in (
        (lambda r: r["ranking"][0].update(score=-1.0005), None),
        (lambda r: r["ranking"][0].update(score=-1.1), "0.1 nats"),
        (lambda r: r["ranking"].pop(), "other titles"),
        (lambda r: r.update(keywords=["silk"]), "silk"),
    ):
        result: dict[str, Any] = deepcopy(ALONE)
        change(result)
        found = different(result, ALONE)
        assert found is None if told is None else told in str(found)


def test_the_slope_counts_from_run_100_on() -> None:
    assert growth([(10, 900.0), (100, 50.0), (200, 52.0), (300, 54.0)]) == pytest.approx(2)
    assert growth([(10, 1.0), (100, 2.0)]) is None
    assert growth([(n, 5.0 + (64 if n == 200 else 0)) for n in range(100, 600, 100)]) == 0  # one moment's peak


def test_requests_differ_and_the_busy_answer_is_recognised() -> None:
    requests = requests_of(5)
    assert len({tuple(r["history"]) for r in requests}) == 5
    assert all(not set(r["history"]) & set(r["candidates"]) for r in requests)
    found = BUSY.search("busy: 3 runs are waiting for the backbone; retry after 12 s")
    assert found is not None
    assert found[1] == "12"
