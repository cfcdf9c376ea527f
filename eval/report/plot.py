"""Points with intervals as an SVG drawing: no script, no fonts, nothing loaded."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

_ROW, _LEFT, _WIDTH, _RIGHT, _TOP, _BOTTOM = 24, 190, 760, 64, 8, 34
Point = tuple[str, float, float, float]
"""Label, mean, low and high end of the interval."""


def interval_plot(points: Sequence[Point], metric: str, reference: float | None = None, said: str = "chance") -> Markup:
    """One row for each point, from the first at the top; `reference` is a dashed line. Raises `ValueError` without points."""
    if not points:
        raise ValueError("a plot needs at least one point")
    low = min([p[2] for p in points] + ([] if reference is None else [reference]))
    high = max([p[3] for p in points] + ([] if reference is None else [reference]))
    ticks = _ticks(low, high)
    low, high = ticks[0], ticks[-1]
    height = _TOP + _ROW * len(points) + _BOTTOM

    def x(value: float) -> float:
        return round(_LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT), 1)

    bottom = _TOP + _ROW * len(points)
    parts = [
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(metric)} with 95 % intervals">'
    ]
    for tick in ticks:
        parts.append(
            f'<line class="grid" x1="{x(tick)}" x2="{x(tick)}" y1="{_TOP}" y2="{bottom}"/>'
            f'<text class="tick" x="{x(tick)}" y="{bottom + 14}" text-anchor="middle">{tick:g}</text>'
        )
    if reference is not None:
        parts.append(
            f'<line class="reference" x1="{x(reference)}" x2="{x(reference)}" y1="{_TOP}" y2="{bottom}"/>'
            f'<text class="tick" x="{x(reference)}" y="{bottom + 28}" text-anchor="middle">{escape(said)}</text>'
        )
    for number, (label, mean, bottom_end, top_end) in enumerate(points):
        y = _TOP + _ROW * number + _ROW / 2
        parts.append(
            f'<text class="label" x="{_LEFT - 10}" y="{y + 4}" text-anchor="end">{escape(_short(label))}</text>'
            f'<line class="range" x1="{x(bottom_end)}" x2="{x(top_end)}" y1="{y}" y2="{y}"/>'
            f'<circle class="mean" cx="{x(mean)}" cy="{y}" r="4"/>'
            f'<text class="value" x="{_WIDTH - 6}" y="{y + 4}" text-anchor="end">{mean:.3f}</text>'
        )
    parts.append(
        f'<text class="tick" x="{_LEFT - 24}" y="{bottom + 14}" text-anchor="end">{escape(metric)}</text></svg>'
    )
    return Markup("".join(str(part) for part in parts))  # noqa: S704 (every label is escaped)


def _short(label: str) -> str:
    return label if len(label) <= 28 else f"{label[:27]}…"


def _ticks(low: float, high: float) -> list[float]:
    """Four to eight round numbers around the range."""
    span = max(high - low, 1e-6)
    step = 10 ** math.floor(math.log10(span / 4))
    step *= next(times for times in (1, 2, 5, 10) if span / (step * times) <= 6)
    first = math.floor(low / step)
    last = max(math.ceil(high / step), first + 1)
    return [round(n * step, 10) for n in range(first, last + 1)]
