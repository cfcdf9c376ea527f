"""What fusing gains: in each cell the fused system against the best one that is none, with Holm's correction over the cells."""

from __future__ import annotations

from collections.abc import Sequence

from webrec.eval.evaluation.summary import Cell, Pair, Summary
from webrec.eval.metrics.statistics import holm, told_detectable, told_p
from webrec.eval.report.view import Table


def fused_table(summaries: Sequence[Summary], system: str, singles: Sequence[str]) -> Table:
    """One row for each data set and sampling. Raises `ValueError` where `system` was not compared with the best of `singles`."""
    found: list[tuple[Cell, Cell, Pair]] = []
    for summary in summaries:
        for cell in summary.cells:
            if cell.system != system:
                continue
            own = [c for c in summary.cells if (c.data, c.sampling) == (cell.data, cell.sampling)]
            best = max((c for c in own if c.system in singles), key=lambda c: c.metrics["ndcg@10"][0])
            pairs = [p for p in summary.pairs if (p.data, p.sampling) == (cell.data, cell.sampling)]
            pair = next((p for p in pairs if (p.system, p.rival) == (system, best.system)), None)
            if pair is None:
                raise ValueError(f"{cell.data}, {cell.sampling}: {system} is not the best, so it was not compared")
            found.append((cell, best, pair))
    adjusted = holm({str(number): pair.p for number, (*_, pair) in enumerate(found)}).values()
    rows = tuple(
        (
            f"{cell.data}, {cell.sampling}",
            f"{cell.metrics['ndcg@10'][0]:.3f}",
            f"{best.system}, {best.metrics['ndcg@10'][0]:.3f}",
            "{:+.3f} [{:+.3f}, {:+.3f}]".format(*pair.difference),
            "" if pair.gain is None else f"{pair.gain[0]:+.1%}",
            told_p(p),
            told_detectable(pair.detectable, len(found)),
        )
        for (cell, best, pair), p in zip(found, adjusted, strict=True)
    )
    rival, column = ("the best single system", "best single") if len(singles) > 1 else (singles[0], "rival")
    heads = ("data, candidates", system, column, "difference", "gain", "p (Holm)", "could be seen")
    return Table(f"NDCG@10 of {system} and of {rival}", heads, rows, "")
