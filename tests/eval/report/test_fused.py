"""The table of what fusing gains."""

from __future__ import annotations

import pytest

from webrec.eval.evaluation.summary import Cell, Pair, Summary
from webrec.eval.report.fused import fused_table


def cell(system: str, value: float) -> Cell:
    return Cell(
        data="d",
        sampling="uniform",
        system=system,
        users=9,
        examples=9,
        seeds=1,
        metrics={"ndcg@10": (value, value, value)},
        spread={},
        groups={},
        seconds_per_example=0,
        tokens_read_per_example=0,
        tokens_written_per_example=0,
    )


def pair(system: str, rival: str) -> Pair:
    return Pair(
        data="d",
        sampling="uniform",
        system=system,
        rival=rival,
        difference=(0.1, 0.05, 0.15),
        gain=(0.25, 0.1, 0.4),
        p=0.01,
        detectable=0.02,
    )


def summary(*pairs: Pair) -> Summary:
    cells = [cell("fused", 0.5), cell("knn", 0.4), cell("sasrec", 0.45), cell("other", 0.49)]
    return Summary(metric="ndcg@10", chance={}, cells=cells, pairs=list(pairs), notes={})


def test_the_best_single_one_is_compared() -> None:
    table = fused_table([summary(pair("fused", "knn"), pair("fused", "sasrec"))] * 2, "fused", ["knn", "sasrec"])
    row = ("d, uniform", "0.500", "sasrec, 0.450", "+0.100 [+0.050, +0.150]", "+25.0%", "0.0200", "0.022")
    assert table.rows == (row, row)


def test_it_says_so_where_there_was_no_comparison() -> None:
    with pytest.raises(ValueError, match="fused is not the best"):
        fused_table([summary(pair("other", "fused"))], "fused", ["knn", "sasrec"])
