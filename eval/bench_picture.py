"""A picture of where the time goes: one bar a system, a piece a node, as SVG."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

_COLOURS = {"reason": "#4c78a8", "extract": "#9ecae9", "score": "#f58518", "others": "#bab0ac"}
_LEFT, _WIDTH, _BAR, _GAP = 190, 560, 26, 14

Shares = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""System, node, and its time over WebRec's whole as a summary: median, least, greatest."""


def picture(shares: Shares) -> str:
    """One bar for each system, in its nodes' medians; a line from the least to the greatest of what each is long."""
    longest = max(_total(nodes, "greatest") for nodes in shares.values())
    scale = _WIDTH / longest
    height = (_BAR + _GAP) * len(shares) + 70
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + 70} {height}" '
        'font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="#fff"/>',
    ]
    for place, (system, nodes) in enumerate(shares.items()):
        top = 10 + place * (_BAR + _GAP)
        parts.append(f'<text x="{_LEFT - 8}" y="{top + 18}" text-anchor="end">{escape(system)}</text>')
        at = float(_LEFT)
        for name, colour in _COLOURS.items():
            own = [n for n in nodes if n == name or (name == "others" and n not in _COLOURS)]
            width = scale * sum(nodes[n]["median"] for n in own)
            if own:
                parts.append(f'<rect x="{at:.1f}" y="{top}" width="{width:.1f}" height="{_BAR}" fill="{colour}"/>')
            at += width
        least, greatest = (_LEFT + scale * _total(nodes, which) for which in ("least", "greatest"))
        middle = top + _BAR / 2
        parts.append(f'<path d="M{least:.1f} {middle}H{greatest:.1f}" stroke="#000" stroke-width="1.5"/>')
        parts.append(f'<text x="{greatest + 6:.1f}" y="{top + 18}">{_total(nodes, "median"):.2f}</text>')
    key = 10 + len(shares) * (_BAR + _GAP) + 8
    for place, (name, colour) in enumerate(_COLOURS.items()):
        x = _LEFT + place * 110
        parts.append(f'<rect x="{x}" y="{key}" width="14" height="14" fill="{colour}"/>')
        parts.append(f'<text x="{x + 20}" y="{key + 12}">{name}</text>')
    note = "time over the median of WebRec's whole; lines: least to greatest of the rounds"
    parts.append(f'<text x="{_LEFT}" y="{key + 36}" fill="#555">{note}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _total(nodes: Mapping[str, Mapping[str, Any]], which: str) -> float:
    return float(sum(node[which] for node in nodes.values()))
