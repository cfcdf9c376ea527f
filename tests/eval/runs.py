"""Training runs that take seconds: examples that can be learnt, a configuration, and what a run's metrics say."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

WORDS = ["Wool", "scarf", "Garden", "hose", "Blue", "jacket", "Green", "tea", "Soap", "cream", "boots", "silk", "book"]
TIMED = ("seconds", "examples_per_second", "tokens_per_second")
TRAINING = {"epochs": 3, "batch_size": 4, "warmup_steps": 2, "validate_every": 5, "checkpoint_every": 3, "patience": 50}


def rows(count: int, seed: int) -> list[dict[str, Any]]:
    """Users whose page names what they took."""
    draw = random.Random(seed)
    made = []
    for number in range(count):
        candidates = [" ".join(draw.sample(WORDS, 2)) + f" {n}" for n in range(5)]
        target = draw.choice(candidates)
        pages = [{"title": f"About {target}", "text": f"The {target} is warm, soft and light. " * draw.randint(1, 3)}]
        made.append(
            {
                "id": f"user {number}",
                "history": [" ".join(draw.sample(WORDS, 2)) for _ in range(3)],
                "candidates": candidates,
                "target": target,
                "pages": pages,
            }
        )
    return made


def write_rows(path: Path, made: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in made), "utf-8")


def write_run(folder: Path, backbone: Path, *, examples: int = 18, **settings: Any) -> Path:
    """Data and configuration in `folder`, to run with `webrec train`; tables in `settings` are laid over the defaults."""
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / "train.jsonl", rows(examples, 1))
    write_rows(folder / "valid.jsonl", rows(6, 2))
    config: dict[str, Any] = {
        "train": "train.jsonl",
        "valid": "valid.jsonl",
        "output": "run",
        "backbone": str(backbone),
        "dtype": "float32",
        "device": "cpu",
        "head": {"kind": "pairwise", "layers": [1], "top_k": 16},
        **settings,
        "training": {**TRAINING, **settings.get("training", {})},
    }
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    return folder / "config.json"


def numbers(output: Path) -> list[dict[str, Any]]:
    """What the metrics say, less the times."""
    lines = (output / "metrics.jsonl").read_text("utf-8").splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in TIMED} for line in lines]
