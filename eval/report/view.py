"""What the templates of a report show: finished numbers and words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from webrec.eval.evaluation.looked_at import LookedAt
from webrec.eval.evaluation.summary import Cell, Pair
from webrec.eval.metrics.ranking import METRICS
from webrec.eval.metrics.statistics import told_detectable, told_p
from webrec.eval.report import paper
from webrec.eval.report.ablations import Ablation, ablations
from webrec.eval.report.plot import interval_plot
from webrec.eval.report.run import FinishedRun

SHOWN = ("ndcg@10", "hr@10", "hr@5", "ndcg@5", "hr@1", "mrr")
NAMES = {"ndcg@10": "NDCG@10", "hr@10": "HR@10", "hr@5": "HR@5", "ndcg@5": "NDCG@5", "hr@1": "HR@1", "mrr": "MRR"}
assert set(SHOWN) == set(METRICS)
_SIGNIFICANT = 0.05
_OVER = {False: "", True: " over users and trainings"}
_ENDS = {False: "95 % bootstrap intervals", True: "95 % intervals (t, or bootstrap for systems with one training)"}
_TEST = {
    False: "paired sign-flip permutation test",
    True: "Welch's t-test over users and trainings where one of the two was trained with several seeds, else paired sign-flip permutation test",
}


@dataclass(frozen=True)
class Table:
    """Rows of finished texts under a heading; `numbers` are the columns set to the right."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class CellView:
    """One data set and sampling."""

    title: str
    plot: Markup
    main: Table
    costs: Table
    groups: tuple[Table, ...]
    ablations: tuple[tuple[Table, Markup], ...]
    examples: tuple[LookedAt, ...]


@dataclass(frozen=True)
class RunView:
    """One run: its cells, and how to make it again."""

    title: str
    planned: Table | None
    cells: tuple[CellView, ...]
    facts: tuple[tuple[str, str], ...]
    command: str
    config: str
    starts: Table
    notes: tuple[Table, ...]


def run_view(run: FinishedRun) -> RunView:
    """The views of all cells of a run."""
    cells = []
    for data, sampling in dict.fromkeys((c.data, c.sampling) for c in run.summary.cells):
        own = [c for c in run.summary.cells if (c.data, c.sampling) == (data, sampling)]
        pairs = [p for p in run.summary.pairs if (p.data, p.sampling) == (data, sampling)]
        looked = [e for e in run.examples if (e.data, e.sampling) == (data, sampling)]
        studied = ablations(run.config["systems"], run.config["retrievals"])
        view = _cell_view(data, sampling, own, pairs, run.summary.chance[data], studied, looked)
        cells.append(view if run.summary.planned else _unplanned(view))
    return RunView(
        title=run.name,
        planned=planned_table(run) if run.summary.planned else None,
        cells=tuple(cells),
        facts=tuple(run.facts()),
        command=run.command(),
        config=run.settings(),
        starts=Table("Starts", ("when", "commit", "machine", "versions"), tuple(run.starts())),
        notes=tuple(
            Table(
                f"Examples of {data}",
                ("what", "value"),
                tuple((str(k), _told(v)) for k, v in notes.items() if v not in (None, {})),
            )
            for data, notes in run.summary.notes.items()
        ),
    )


def _unplanned(view: CellView) -> CellView:
    note = f"{view.main.note} The configuration names no comparison, so all of these explore."
    return replace(view, main=replace(view.main, note=note))


def planned_table(run: FinishedRun) -> Table:
    """The comparisons that the configuration names, in each cell, and whether it did when the run was first started."""
    pairs, starts = run.summary.planned, run.description.get("starts", ())
    several = max(cell.seeds for cell in run.summary.cells) > 1
    first = starts[0].get("comparisons") if starts else None
    late = {(p.system, p.rival) for p in pairs} - {(system, rival) for system, rival in first or ()}
    if first is None:
        when = "by a run that does not say when they were named"
    elif late:
        when = f"after the run had begun, so that they explore: {', '.join(' against '.join(pair) for pair in sorted(late))}"
    else:
        rows = starts[0].get("rows", 0)
        when = "all of them when the run began" + (f" (with {rows:,} rows of another run)" if rows else "")
    rows = tuple(
        (
            f"{pair.data}, {pair.sampling}",
            f"{pair.system} against {pair.rival}",
            "{:+.3f} [{:+.3f}, {:+.3f}]".format(*pair.difference),
            "" if pair.gain is None else "{:+.1%} [{:+.1%}, {:+.1%}]".format(*pair.gain),
            "" if pair.p_holm is None else told_p(pair.p_holm),
            told_detectable(pair.detectable, len(pairs), pair.freedom),
        )
        for pair in pairs
    )
    heads = ("data, candidates", "compared", "difference in NDCG@10", "gain", "p (Holm)", "could be seen")
    return Table(
        "Planned comparisons",
        heads,
        rows,
        f"Named in the configuration, {when}; all other comparisons explore. On the same users, {_ENDS[several]}{_OVER[several]}; "
        f"p: {_TEST[several]}, corrected over these {len(rows)}; could be seen: the smallest difference found with 80 % power, so corrected.",
    )


def _told(value: Any) -> str:
    """A value of the notes in words."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key.replace('_', ' ')}: {_told(inner)}" for key, inner in value.items())
    return f"{value:.3f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _cell_view(
    data: str,
    sampling: str,
    cells: Sequence[Cell],
    pairs: Sequence[Pair],
    chance: Mapping[str, float],
    studied: Sequence[Ablation],
    looked: Sequence[LookedAt],
) -> CellView:
    ordered = sorted(cells, key=lambda c: -c.metrics["ndcg@10"][0])
    several = max(c.seeds for c in cells) > 1
    points = [(c.system, *c.metrics["ndcg@10"]) for c in ordered]
    title = f"{data}, {sampling} candidates"
    spread = any(cell.spread for cell in ordered)
    main = Table(
        f"Rankings: {title}",
        (
            "system",
            *(NAMES[m] for m in SHOWN),
            *(["spread over seeds"] if spread else []),
            *("behind the best", "p", "could be seen"),
        ),
        tuple(_main_row(cell, pairs, first=number == 0, spread=spread) for number, cell in enumerate(ordered)),
        f"{ordered[0].users:,} users, {ordered[0].examples:,} examples, 95 % bootstrap intervals{_OVER[several] or ' over users'} in brackets. Chance: NDCG@10 "
        f"{chance['ndcg@10']:.3f}, HR@10 {chance['hr@10']:.3f}. Ties count against a system. Behind: difference of NDCG@10 to the best, "
        f"on the same users; p: {_TEST[several]}; could be seen: the smallest difference found with 80 % power. "
        + _verdict(ordered[0].system, pairs),
    )
    costs = Table(
        "What an example costs",
        ("system", "seconds", "tokens read", "tokens written"),
        tuple(
            (
                c.system,
                f"{c.seconds_per_example:.4f}",
                f"{c.tokens_read_per_example:,.0f}",
                f"{c.tokens_written_per_example:,.0f}",
            )
            for c in ordered
        ),
        "Of a system that reads pages the search counts with it, though it is done once for all that read the same; of a fused one "
        "what its inputs cost does not: that stands in their rows.",
    )
    by_name = {c.system: c for c in cells}
    return CellView(
        title=title,
        plot=interval_plot(points, "NDCG@10", chance["ndcg@10"]),
        main=main,
        costs=costs,
        groups=tuple(_groups(ordered)),
        ablations=tuple(_ablation(a, by_name) for a in studied if all(name in by_name for _, name in a.steps)),
        examples=tuple(looked),
    )


def _verdict(best: str, pairs: Sequence[Pair]) -> str:
    """Whether the best is above every other system, each test at .05: then so is the claim that it beats them all."""
    alike = [pair.rival for pair in pairs if pair.p >= _SIGNIFICANT]
    if not pairs:
        return ""
    if alike:
        return f"{best} is not told apart from {', '.join(alike)}."
    return f"{best} is above every other system (largest p {told_p(max(pair.p for pair in pairs))})."


def _main_row(cell: Cell, pairs: Sequence[Pair], *, first: bool, spread: bool) -> tuple[str, ...]:
    pair = next((p for p in pairs if p.rival == cell.system), None)
    compared = ("the best", "", "") if first else ("", "", "")
    if pair is not None:
        low, high = pair.difference[1:]
        compared = (
            f"{pair.difference[0]:.3f} [{low:.3f}, {high:.3f}]",
            told_p(pair.p),
            told_detectable(pair.detectable),
        )
    varied = f"{cell.spread['ndcg@10']:.3f} ({cell.seeds})" if cell.spread else ""
    values = [
        _with_interval(cell.metrics[m]) if m in ("ndcg@10", "hr@10") else f"{cell.metrics[m][0]:.3f}" for m in SHOWN
    ]
    return (cell.system, *values, *([varied] if spread else []), *compared)


def _with_interval(value: tuple[float, float, float]) -> str:
    return f"{value[0]:.3f} [{value[1]:.3f}, {value[2]:.3f}]"


def _groups(cells: Sequence[Cell]) -> list[Table]:
    tables = []
    for kind in dict.fromkeys(kind for c in cells for kind in c.groups):
        told = {c.system: c.groups[kind] for c in cells if kind in c.groups}
        names = list(dict.fromkeys(name for groups in told.values() for name in groups))
        # What was found is not the same for all systems: then the number of users stands in each place.
        users = {n: {groups[n][0] for groups in told.values() if n in groups} for n in names}
        alike = all(len(counts) == 1 for counts in users.values())

        def place(group: tuple[int, float, float, float] | None, alike: bool = alike) -> str:
            if group is None:
                return ""
            return _with_interval(group[1:]) + ("" if alike else f" ({group[0]:,} users)")

        heads = ("system", *(f"{n} ({min(users[n]):,} users)" if alike else n for n in names))
        rows = tuple((system, *(place(groups.get(n)) for n in names)) for system, groups in told.items())
        tables.append(Table(f"NDCG@10 by {kind}", heads, rows))
    return tables


def _ablation(ablation: Ablation, cells: Mapping[str, Cell]) -> tuple[Table, Markup]:
    base = cells[ablation.steps[0][1]].metrics["ndcg@10"][0]
    rows = []
    for value, name in ablation.steps:
        metric = cells[name].metrics["ndcg@10"]
        rows.append((value, name, _with_interval(metric), "" if base == 0 else f"{paper.gain(metric[0], base):+.1%}"))
    heads = (ablation.setting, "system", "NDCG@10", "over the first")
    points = [(f"{value} · {name}", *cells[name].metrics["ndcg@10"]) for value, name in ablation.steps]
    return Table(
        f"What {ablation.setting} does", heads, tuple(rows), paper.FOUND.get(ablation.setting, "")
    ), interval_plot(points, "NDCG@10")


def paper_view(runs: Sequence[FinishedRun]) -> Table:
    """Table 3 as gains over the strongest rival in each cell: ours for the best language model with a head, then the paper's.

    Without a head there is nothing to compare, and no row. A placebo stands on neither side, nor what is fused of one or of a head, nor a
    finished adapter: the settings do not say whether it has a head.
    """
    rows: list[tuple[str, ...]] = []
    theirs = [
        ("paper", data, NAMES[metric], "WebRec (better of two engines)", rival, f"{gain:+.1%}", "")
        for metric in paper.METRICS
        for data, (gain, rival) in paper.over_strongest_rival(metric).items()
    ]
    for run in runs:
        heads = {name for name, told in run.systems().items() if _has_head(told)}
        neither = _neither(run.systems(), heads)
        for data, sampling in dict.fromkeys((c.data, c.sampling) for c in run.summary.cells):
            own = [c for c in run.summary.cells if (c.data, c.sampling) == (data, sampling)]
            ours, rivals = [c for c in own if c.system in heads], [c for c in own if c.system not in heads | neither]
            if not ours or not rivals:
                continue
            for metric in paper.METRICS:
                best, rival_cell = (max(group, key=lambda c: c.metrics[metric][0]) for group in (ours, rivals))
                base = rival_cell.metrics[metric][0]
                gain = f"{paper.gain(best.metrics[metric][0], base):+.1%}" if base else ""
                rows.append(
                    (
                        run.name,
                        f"{data}, {sampling}",
                        NAMES[metric],
                        best.system,
                        rival_cell.system,
                        gain,
                        f"{best.metrics[metric][0]:.3f} / {rival_cell.metrics[metric][0]:.3f}",
                    )
                )
    return Table(
        "Table 3: gain over the strongest rival of each cell",
        ("whose", "data", "metric", "system", "strongest rival", "relative gain", "ours / rival's"),
        tuple([*rows, *theirs] if rows else ()),
        "Only relative gains are compared: most of the paper's Beauty values lie below chance for a full ranking of 20 candidates.",
    )


def _neither(systems: Mapping[str, Mapping[str, Any]], heads: set[str]) -> set[str]:
    """Those that are no rivals of a head. What is fused stands behind its inputs."""
    found: set[str] = set()
    for name, told in systems.items():
        placebo = told.get("placebo") or told.get("history") == "other"
        if placebo or told.get("adapter") or (heads | found) & set(told.get("inputs", ())):
            found.add(name)
    return found


def _has_head(system: Mapping[str, Any]) -> bool:
    return system["kind"] == "llm" and not system.get("placebo") and bool((system.get("tune") or {}).get("head"))
