"""What a shorter reasoning changes: keywords and pages at limits of 32 to 256 tokens, on real users.

    python -m webrec.eval.reasoning_limit --data FOLDER --output eval/results/reasoning_limit.json

`FOLDER` as for `webrec.eval.rerank_effect`, whose users, prompts and index these are. Fewer tokens is the one large saving that is no
matter of programming, and it is approximate: the table says how much of what 256 tokens would have picked and found is left.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from webrec.eval.provenance import provenance
from webrec.eval.rerank_effect import HISTORY, SOURCES, Case, cases, gather_pages
from webrec.models.backbone import get_backbone, number_format
from webrec.models.config import BackboneConfig
from webrec.models.decoding import decode_together
from webrec.nodes.context import RunContext
from webrec.nodes.extract import extract
from webrec.nodes.prompt import User, taste_prompt
from webrec.nodes.query_strategies import BUILTIN as STRATEGIES
from webrec.nodes.reason import as_reasoning
from webrec.nodes.run import Resources, Run
from webrec.nodes.state import State
from webrec.tools.providers.local_index import LocalIndex, build_index
from webrec.tools.providers.registry import BUILTIN as PROVIDERS

LIMITS = (32, 64, 128, 256)
PAGES = 10


def picked(chosen: Sequence[Case], limit: int) -> list[dict[str, Any]]:
    """Tokens written, why they ended, and the keywords of each user."""
    context = RunContext(reasoning_tokens=limit)
    backbone = get_backbone(BackboneConfig())
    run = Run("extract", context, Resources(PROVIDERS, STRATEGIES), lambda _: None)
    users = [User.of(case.history, case.candidates, history_items=HISTORY, seed=0) for case in chosen]
    prompts = [backbone.chat.encode_turn(taste_prompt(user)) for user in users]
    watched = (context.attention_layer, context.attention_heads)
    rows = []
    for case, written in zip(chosen, decode_together(backbone, prompts, limit, watched=watched), strict=True):
        reasoning = as_reasoning(written, backbone).model_dump()
        state = State(history=list(case.history), candidates=list(case.candidates), reasoning=reasoning)
        rows.append({"tokens": len(written.ids), "stop": written.stop, "keywords": extract(state, run)["keywords"]})
    return rows


def summarise(rows: Sequence[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """Means over users of what each limit shares with the limit `most`."""
    whole = {row["user"]: row for row in rows if row["limit"] == most}
    summary = []
    for limit in dict.fromkeys(row["limit"] for row in rows):
        own = [row for row in rows if row["limit"] == limit]
        summary.append(
            {
                "limit": limit,
                "users": len(own),
                "tokens": round(statistics.mean(row["tokens"] for row in own), 1),
                "ended": round(statistics.mean(row["stop"] != "limit" for row in own), 3),
                "keywords": _mean_shared(own, whole, "keywords"),
                "pages": _mean_shared(own, whole, "pages"),
            }
        )
    return summary


def _mean_shared(rows: Sequence[dict[str, Any]], whole: dict[str, dict[str, Any]], field: str) -> float:
    """Mean of `|A ∩ B| / |A ∪ B|` of each user's two sets; two empty ones are the same."""
    shared = []
    for row in rows:
        own, other = set(row[field]), set(whole[row["user"]][field])
        shared.append(len(own & other) / len(own | other) if own | other else 1.0)
    return round(statistics.mean(shared), 3)


def limits_table(report: dict[str, Any]) -> str:
    """The summary as Markdown."""
    lines = [
        "| limit | tokens written | ended by themselves | keywords shared with the longest | pages shared |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in report["summary"]:
        shares = f"{row['ended']:.0%} | {row['keywords']:.2f} | {row['pages']:.2f}"
        lines.append(f"| {row['limit']} | {row['tokens']} | {shares} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write the rows where `--output` says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--output", type=Path, required=True, help="JSON file for the result")
    parser.add_argument(
        "--users", type=int, default=32, help="users, at least 30 to say anything (default: %(default)s)"
    )
    chosen = parser.parse_args()
    users, rows = cases(chosen.data, chosen.users), list[dict[str, Any]]()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pages.jsonl"
        gather_pages(chosen.data, file)
        index, provider = build_index([file], None), LocalIndex(file)
        for limit in LIMITS:
            for case, row in zip(users, picked(users, limit), strict=True):
                found = provider.search_in(index, " ".join(row["keywords"]), PAGES)
                rows.append({"user": case.user, "limit": limit, **row, "pages": [page.title for page in found]})
            print(f"limit {limit}", flush=True)
    films = [f"movielens_small_2018/{name}" for name in ("items.jsonl.gz", "interactions.csv.gz")]
    files = [*films, *(f"{source}/pages.jsonl.gz" for source in SOURCES)]
    report = {
        **provenance("torch", "transformers", "tantivy"),
        "backbone": BackboneConfig().backbone,
        "format": number_format(BackboneConfig()),
        "seed": 0,
        "data": {name: hashlib.sha256((chosen.data / name).read_bytes()).hexdigest() for name in files},
        "summary": summarise(rows, max(LIMITS)),
        "rows": [{**row, "pages": len(row["pages"])} for row in rows],
    }
    chosen.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(limits_table(report))


if __name__ == "__main__":
    main()
