"""What a saved crowd is worth where items are new to it: some are hidden from it, and their titles read or not.

`python -m webrec.eval.new_items FOLDER ... --output new_items.json`
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from webrec.cache_folder import cache_root
from webrec.eval.data.build import frozen_examples
from webrec.eval.data.candidates import SAMPLINGS
from webrec.eval.data.config import DataConfig
from webrec.eval.data.dataset import Item, RankingExample
from webrec.eval.data.frozen import FrozenExamples
from webrec.eval.metrics.ranking import ndcg, target_ranks
from webrec.eval.metrics.statistics import interval
from webrec.eval.provenance import provenance
from webrec.eval.saved_crowd import Learning, make_crowd
from webrec.eval.systems.epoch_checkpoint import Epoch
from webrec.eval.whole_text import write_whole_text
from webrec.tools.crowd.prior import CrowdPrior, Embed, Prior

SHARE = 5
"""One item of so many is hidden, by a hash of its id."""


@dataclass(frozen=True)
class Ranked:
    """NDCG@10 of one example's target: of a crowd to which new titles are unknown, and of one that reads them."""

    new: bool
    unknown: float
    read: float


def is_hidden(item_id: str) -> bool:
    """Whether the crowd does not hear of an item."""
    return int(hashlib.sha256(item_id.encode()).hexdigest(), 16) % SHARE == 0


def write_without(frozen: FrozenExamples, folder: Path) -> None:
    """A data set of the training part without the hidden items."""
    shown = {item_id: item for item_id, item in frozen.items.items() if not is_hidden(item_id)}
    with (folder / "items.jsonl").open("w", encoding="utf-8") as file:
        for item_id, item in shown.items():
            file.write(json.dumps({"item_id": item_id, "title": item.title, "description": item.text or None}) + "\n")
    with (folder / "interactions.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["user_id", "item_id", "position"])
        for user, sequence in frozen.training().sequences.items():
            for place, item_id in enumerate(item_id for item_id in sequence if item_id in shown):
                rows.writerow([user, item_id, place])


def ranked(prior: CrowdPrior, items: dict[str, Item], examples: Sequence[RankingExample], embed: Embed) -> list[Ranked]:
    """Each example by the crowd alone, once with unknown titles at the mean and once with titles read."""
    found = []
    for example in examples:
        history = [items[item_id].title for item_id in example.history]
        candidates = [items[item_id].title for item_id in example.candidates]
        place = example.candidates.index(example.target)
        unknown, read = (
            _ndcg(told, place) for told in (prior.of(history, candidates), prior.of(history, candidates, embed=embed))
        )
        found.append(Ranked(is_hidden(example.target), unknown, read))
    return found


def _ndcg(told: Prior, place: int) -> float:
    scores = [0.0 if odds is None else odds for odds in told.log_odds]
    return float(ndcg(target_ranks([scores], [place]), 10)[0])


def measure(data: Path, min_interactions: int, users: int | None) -> list[dict[str, Any]]:
    """Rows for new targets, for known ones, and for all, of each sampling of one data set."""
    from webrec.models.content_store import open_content_store
    from webrec.models.kept_embeddings import encode_kept
    from webrec.models.sentence_encoder import MINILM, get_sentence_encoder

    config = DataConfig(path=data, min_interactions=min_interactions, draws=1, test_users=users)
    frozen = frozen_examples(config, cache_root() / "frozen", _say)
    with tempfile.TemporaryDirectory() as folder:
        write_without(frozen, Path(folder))
        own = DataConfig(path=Path(folder), min_interactions=0, samplings=("uniform",))
        crowd = make_crowd(own, "uniform", progress=_say, learning=Learning(Path(folder) / ".learning", _tell))
    prior = CrowdPrior(crowd)
    embed = encode_kept(open_content_store(), get_sentence_encoder(MINILM))
    rows = []
    for sampling in SAMPLINGS:
        found = ranked(prior, dict(frozen.items), frozen.examples("test", sampling), embed)
        for targets, chosen in (
            ("new", [one for one in found if one.new]),
            ("known", [one for one in found if not one.new]),
            ("all", found),
        ):
            told = {
                name: [round(value, 4) for value in astuple(interval(values))[:3]]
                for name, values in {
                    "unknown": [one.unknown for one in chosen],
                    "read": [one.read for one in chosen],
                    "difference": [one.read - one.unknown for one in chosen],
                }.items()
            }
            rows.append({"data": data.name, "sampling": sampling, "targets": targets, "users": len(chosen), **told})
            _say(f"{data.name}, {sampling}, {targets}: {told}")
    return rows


def new_items_table(report: dict[str, Any]) -> str:
    """NDCG@10 with its interval."""
    lines = ["| data, candidates | target | users | unknown | read | gain |", "| --- | --- | --- | --- | --- | --- |"]
    for row in report["rows"]:
        values = [f"{mean:.3f} \\[{low:.3f}, {high:.3f}]" for mean, low, high in (row["unknown"], row["read"])]
        mean, low, high = row["difference"]
        values.append(f"{mean:+.3f} \\[{low:+.3f}, {high:+.3f}]")
        name = row["data"].replace("_", "\\_")
        lines.append(f"| {name}, {row['sampling']} | {row['targets']} | {row['users']:,} | {' | '.join(values)} |")
    return "\n".join(lines) + "\n"


def _tell(epoch: Epoch) -> None:
    _say(f"learning what follows what: epoch {epoch.epoch}, validation NDCG@10 {epoch.validation or 0:.4f}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Measure each folder and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="+", help="data set, as webrec eval reads it")
    parser.add_argument("--min-interactions", type=int, default=5, help="of the filter (default: %(default)s)")
    parser.add_argument("--users", type=int, help="test users at most")
    parser.add_argument("--output", type=Path, required=True, help="file to write the result to, as JSON")
    chosen = parser.parse_args()
    rows = [row for data in chosen.data for row in measure(data.resolve(), chosen.min_interactions, chosen.users)]
    told = {
        **provenance("torch", "transformers"),
        "share hidden": 1 / SHARE,
        "min_interactions": chosen.min_interactions,
        "users": chosen.users,
        "rows": rows,
    }
    write_whole_text(chosen.output, json.dumps(told, indent=1) + "\n", "--output")


if __name__ == "__main__":
    main()
