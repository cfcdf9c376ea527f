"""Figures of the paper (arXiv 2511.14182v1) that stand beside ours: relative gains alone, since its absolutes are not comparable."""

from __future__ import annotations

from collections.abc import Mapping

METRICS = ("hr@5", "hr@10", "ndcg@5", "ndcg@10")
DATA = ("Beauty", "Toys", "Video Games", "Movies and TV")
Row = tuple[float, float, float, float]

RIVALS: Mapping[str, Mapping[str, Row]] = {
    "POD": {
        "Beauty": (0.3166, 0.3354, 0.2864, 0.2928),
        "Toys": (0.5729, 0.5806, 0.5448, 0.5473),
        "Video Games": (0.4692, 0.5428, 0.3783, 0.4105),
        "Movies and TV": (0.5001, 0.5714, 0.4221, 0.4532),
    },
    "GenRec": {
        "Beauty": (0.3345, 0.3475, 0.2909, 0.3038),
        "Toys": (0.5559, 0.5625, 0.5424, 0.5446),
        "Video Games": (0.4705, 0.5419, 0.3713, 0.3962),
        "Movies and TV": (0.5463, 0.5717, 0.4456, 0.4581),
    },
    "TALLRec": {
        "Beauty": (0.3533, 0.3644, 0.2978, 0.3109),
        "Toys": (0.5848, 0.6096, 0.5465, 0.5616),
        "Video Games": (0.4725, 0.5440, 0.3899, 0.4188),
        "Movies and TV": (0.5602, 0.5798, 0.4508, 0.4592),
    },
    "RA-Rec": {
        "Beauty": (0.3114, 0.3727, 0.2775, 0.3056),
        "Toys": (0.5511, 0.6077, 0.5425, 0.5642),
        "Video Games": (0.5269, 0.5632, 0.4064, 0.4210),
        "Movies and TV": (0.5226, 0.5898, 0.4398, 0.4730),
    },
    "ROPG": {
        "Beauty": (0.2748, 0.3530, 0.2677, 0.3034),
        "Toys": (0.5438, 0.5926, 0.5318, 0.5554),
        "Video Games": (0.5286, 0.5570, 0.4045, 0.4172),
        "Movies and TV": (0.5228, 0.5862, 0.4315, 0.4662),
    },
    "CoRAL": {
        "Beauty": (0.3655, 0.3878, 0.3002, 0.3102),
        "Toys": (0.5997, 0.6165, 0.5606, 0.5690),
        "Video Games": (0.5015, 0.5754, 0.3931, 0.4239),
        "Movies and TV": (0.5670, 0.6019, 0.4680, 0.4814),
    },
    "Self-RAG (Tavily)": {
        "Beauty": (0.3298, 0.3319, 0.2849, 0.2882),
        "Toys": (0.5328, 0.5636, 0.5308, 0.5505),
        "Video Games": (0.4686, 0.5522, 0.3632, 0.3949),
        "Movies and TV": (0.5517, 0.5698, 0.4377, 0.4407),
    },
    "CRAG (Tavily)": {
        "Beauty": (0.3392, 0.3400, 0.2919, 0.2921),
        "Toys": (0.5402, 0.5453, 0.5372, 0.5403),
        "Video Games": (0.4736, 0.5417, 0.3672, 0.3908),
        "Movies and TV": (0.5474, 0.5635, 0.4403, 0.4501),
    },
    "RAG drafter (Tavily)": {
        "Beauty": (0.3716, 0.4319, 0.3016, 0.3187),
        "Toys": (0.5897, 0.5988, 0.5606, 0.5627),
        "Video Games": (0.4931, 0.5692, 0.3847, 0.4161),
        "Movies and TV": (0.5606, 0.5921, 0.4612, 0.4874),
    },
}
"""Table 3: HR@5, HR@10, NDCG@5, NDCG@10."""

WEBREC: Mapping[str, Mapping[str, Row]] = {
    "WebRec (Tavily)": {
        "Beauty": (0.4043, 0.4921, 0.3153, 0.3441),
        "Toys": (0.6655, 0.7352, 0.5871, 0.6098),
        "Video Games": (0.5695, 0.6565, 0.4688, 0.4970),
        "Movies and TV": (0.5880, 0.7056, 0.4950, 0.5346),
    },
    "WebRec (Brave)": {
        "Beauty": (0.3981, 0.4921, 0.3068, 0.3373),
        "Toys": (0.6862, 0.7614, 0.5950, 0.6192),
        "Video Games": (0.5520, 0.6384, 0.4450, 0.4830),
        "Movies and TV": (0.6025, 0.6721, 0.5106, 0.5330),
    },
}
"""Table 3."""

HOPS: Mapping[str, Mapping[str, Row]] = {
    "Beauty": {
        "none": (0.3228, 0.4231, 0.2533, 0.2856),
        "1": (0.4043, 0.4921, 0.3153, 0.3441),
        "2": (0.4106, 0.4796, 0.3223, 0.3444),
        "3": (0.4451, 0.5203, 0.3479, 0.3721),
    },
    "Toys": {
        "none": (0.6176, 0.7102, 0.5122, 0.5423),
        "1": (0.6655, 0.7352, 0.5871, 0.6098),
        "2": (0.7037, 0.7832, 0.6238, 0.6496),
        "3": (0.7026, 0.7690, 0.6184, 0.6397),
    },
}
"""Table 4, by hops; `none` is vanilla RAG with the same queries."""

LAYERS: Mapping[str, Mapping[str, Row]] = {
    "Beauty": {
        "0": (0.3907, 0.4727, 0.2985, 0.3196),
        "2": (0.4043, 0.4921, 0.3153, 0.3441),
        "15": (0.3605, 0.4545, 0.2780, 0.3082),
        "31": (0.3542, 0.4514, 0.2599, 0.2904),
    },
    "Toys": {
        "0": (0.6498, 0.7243, 0.5625, 0.5744),
        "2": (0.6655, 0.7352, 0.5871, 0.6098),
        "15": (0.6597, 0.7305, 0.5702, 0.5933),
        "31": (0.6184, 0.7135, 0.5161, 0.5512),
    },
}
"""Table 5, by layer of 32."""


def gain(value: float, base: float) -> float:
    """`value / base − 1`."""
    return value / base - 1


def over_strongest_rival(metric: str) -> dict[str, tuple[float, str]]:
    """By data set: the gain of the better WebRec over the strongest rival in the cell, and that rival's name (Table 3)."""
    place = METRICS.index(metric)
    gains = {}
    for data in DATA:
        name, best = max(((n, rows[data][place]) for n, rows in RIVALS.items()), key=lambda pair: pair[1])
        gains[data] = (gain(max(rows[data][place] for rows in WEBREC.values()), best), name)
    return gains


def along(table: Mapping[str, Mapping[str, Row]], metric: str, base: str) -> dict[str, dict[str, float]]:
    """By data set and step of Table 4 or 5: the gain over the step `base`."""
    place = METRICS.index(metric)
    return {
        data: {step: gain(row[place], rows[base][place]) for step, row in rows.items() if step != base}
        for data, rows in table.items()
    }


def _along(title: str, table: Mapping[str, Mapping[str, Row]], base: str) -> str:
    return f"The paper's {title}, NDCG@10: " + "; ".join(
        f"{data} " + ", ".join(f"{step}: {value:+.1%}" for step, value in steps.items())
        for data, steps in along(table, "ndcg@10", base).items()
    )


_QUERIES = (
    "The paper's Fig. 4: keywords over no retrieval up to +46.7% on Beauty and +26.6% on Toys, over a query that the model writes up to "
    "+3.2% and +7.4%; the prompt as the query at most +7.9% on Beauty and down to -2.3% on Toys over no retrieval (whose bars are POD's)."
)

FOUND: Mapping[str, str] = {
    "tune.head.hops": _along("Table 4 (hops, over one hop)", HOPS, "1"),
    "tune.head.layers": _along("Table 5 (layer of 32, over layer 2)", LAYERS, "2"),
    "tune.head": "The paper's Fig. 5, HR on Beauty: its head over vanilla RAG +16.3% to +25.2%, over LIN-Head up to +13.0%. "
    + _along("Table 4 (hops, over vanilla RAG)", HOPS, "none"),
    "retrieval": _QUERIES,
    "retrieval.query_strategy": _QUERIES,
    "prompt.pages": "The paper's Fig. 6b (1 to 20 pages): WebRec grows with the number of pages, vanilla RAG does not.",
}
"""What the paper found where it changed one setting of ours, in a sentence."""
