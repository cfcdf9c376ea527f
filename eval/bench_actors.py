"""The same language model asked the same examples by a plain loop, an evaluation, and an evaluation on Ray: examples a second.

    make bench ARGS="--only actors --output eval/results/bench_actors.json"

One thread for each model. What it takes to start (Ray, loading the model) is not part of the pace and stands apart.
"""

from __future__ import annotations

import csv
import json
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from webrec.eval.data.build import frozen_examples
from webrec.eval.evaluation.config import EvalConfig, RayConfig
from webrec.eval.evaluation.run import evaluate
from webrec.eval.systems.language_model import LanguageModel
from webrec.eval.train_config import PromptConfig
from webrec.models.config import BackboneConfig

USERS, TAKEN, ITEMS = 96, 12, 400
ACTORS = (1, 2)
_WORDS = [
    "amber",
    "basket",
    "candle",
    "dinner",
    "engine",
    "forest",
    "garden",
    "hammer",
    "island",
    "jacket",
    "kettle",
    "ladder",
    "mirror",
    "needle",
    "orange",
    "pepper",
]


def measure_actors(
    backbone: str | None = None, rounds: int = 2, users: int = USERS, say: Callable[[str], None] = print
) -> list[dict[str, Any]]:
    """One row for each way and round. `backbone`: as in `BackboneConfig`, the default one unless said."""
    rows = []
    for number in range(rounds):
        for actors in (None, 0, *ACTORS):  # in turns, so that a noisy machine hits all of them
            with tempfile.TemporaryDirectory() as folder, _cache(Path(folder)):
                config = _config(Path(folder), backbone, actors or 0, users)
                row = _plain(config) if actors is None else _evaluated(config, actors)
            rows.append({"round": number, **row})
            say(json.dumps(rows[-1]))
    return rows


@contextmanager
def _cache(folder: Path) -> Iterator[None]:
    """Nothing is remembered from one measurement to the next, but the backbone."""
    from webrec.cache_folder import cache_root

    before, kept = os.environ.get("WEBREC_CACHE"), cache_root()
    own = folder / "cache"
    own.mkdir()
    for model in kept.glob("smollm2-*"):
        (own / model.name).symlink_to(model)
    os.environ["WEBREC_CACHE"] = str(own)
    try:
        yield
    finally:
        del os.environ["WEBREC_CACHE"]
        if before is not None:
            os.environ["WEBREC_CACHE"] = before


def _config(folder: Path, backbone: str | None, actors: int, users: int) -> EvalConfig:
    generator = random.Random(0)  # noqa: S311 - a sample, not a secret
    titles = [" ".join(generator.sample(_WORDS, 5)).title() + f" {n}" for n in range(ITEMS)]
    data = folder / "made up"
    data.mkdir()
    (data / "items.jsonl").write_text(
        "".join(json.dumps({"item_id": str(n), "title": title}) + "\n" for n, title in enumerate(titles)), "utf-8"
    )
    with (data / "interactions.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["user_id", "item_id"])
        for user in range(users):
            writer.writerows([f"u{user}", item] for item in generator.sample(range(ITEMS), TAKEN))
    system = {"kind": "llm", **({} if backbone is None else {"backbone": backbone})}
    config = EvalConfig.model_validate(
        {
            "output": folder / "run",
            "data": [{"path": data, "min_interactions": 0, "draws": 1, "samplings": ["uniform"]}],
            "systems": [system],
        }
    )
    return config.model_copy(update={"ray": RayConfig(actors=actors)}) if actors else config


def _plain(config: EvalConfig) -> dict[str, Any]:
    """No evaluation at all: the model, and a loop."""
    frozen = frozen_examples(config.data[0], Path(config.output).parent / "frozen")
    examples = frozen.examples("test", "uniform")
    began = time.perf_counter()
    chosen: Any = config.systems[0]
    backbone = BackboneConfig(**{name: getattr(chosen, name) for name in BackboneConfig.model_fields})
    model = LanguageModel(backbone, PromptConfig(), threads=config.threads)
    model.fit(frozen.training(), 0)
    model.rank(examples[0])
    started = time.perf_counter()
    for example in examples[1:]:
        model.rank(example)
    ended = time.perf_counter()
    return _row("plain loop", len(examples) - 1, ended - started, started - began)


def _evaluated(config: EvalConfig, actors: int) -> dict[str, Any]:
    """From the first piece that is answered on."""
    times: list[tuple[float, int]] = []
    began = time.perf_counter()
    evaluate(
        config, on_event=lambda e: times.append((time.perf_counter(), e["rows"])) if e["event"] == "answered" else None
    )
    first, last = times[0][0], times[-1][0]
    how = f"webrec eval --ray --actors {actors}" if actors else "webrec eval"
    return _row(how, sum(rows for _, rows in times[1:]), last - first, first - began)


def _row(how: str, examples: int, seconds: float, before: float) -> dict[str, Any]:
    pace = {"examples_per_second": round(examples / seconds, 3), "seconds_to_the_first": round(before, 1)}
    return {"how": how, "examples": examples, **pace}


def actors_table(report: dict[str, Any]) -> str:
    """Pace of each way, and over that of the plain loop in the same round."""
    rows = report["actors"]
    lines = [
        "| | examples a second | over the plain loop | seconds before the first answers |",
        "| --- | --- | --- | --- |",
    ]
    base = {row["round"]: row["examples_per_second"] for row in rows if row["how"] == "plain loop"}
    for how in dict.fromkeys(row["how"] for row in rows):
        own = [row for row in rows if row["how"] == how]
        paces = ", ".join(f"{row['examples_per_second']:.2f}" for row in own)
        ratios = ", ".join(f"{row['examples_per_second'] / base[row['round']]:.2f}" for row in own)
        starts = ", ".join(f"{row['seconds_to_the_first']:.0f}" for row in own)
        lines.append(f"| {how if how == 'plain loop' else f'`{how}`'} | {paces} | {ratios} | {starts} |")
    return "\n".join(lines) + "\n"
