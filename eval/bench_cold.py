"""The first recommendation of a new process, over the same one when all is loaded: what a cold start costs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from webrec.eval.bench_score import summary

_PROGRAM = """
import json, sys, time
marks = [time.perf_counter()]
from webrec.models.allocator import limit_allocator
limit_allocator()  # as the command does
from webrec import recommend
from webrec.examples import load_example
import torch, transformers
marks.append(time.perf_counter())
from webrec.models.backbone import get_backbone
from webrec.models.config import BackboneConfig
get_backbone(BackboneConfig(dtype=sys.argv[2]))
marks.append(time.perf_counter())
example = load_example(sys.argv[1])
for _ in range(2):
    recommend(example["history"], example["candidates"], providers=["sample"], reasoning_tokens=128, dtype=sys.argv[2])
    marks.append(time.perf_counter())
print(json.dumps(marks))
"""


def measure_cold(
    rounds: int, example: str = "games", *, dtype: str = "auto", say: Callable[[str], None] = print
) -> dict[str, Any]:
    """Each as a share of the second recommendation in the same process, whose weights are on this machine already."""
    rows = []
    for _ in range(rounds):
        began = time.perf_counter()
        ran = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-c", _PROGRAM, example, dtype], check=True, capture_output=True, text=True
        )
        whole = time.perf_counter() - began
        start, imported, loaded, first, second = json.loads(ran.stdout.splitlines()[-1])
        warm = second - first
        rows.append(
            {
                "process to first result": (whole - warm) / warm,
                "importing": (imported - start) / warm,
                "loading the weights": (loaded - imported) / warm,
                "first recommendation": (first - loaded) / warm,
            }
        )
        say(json.dumps(rows[-1]))
    return {name: summary([row[name] for row in rows]) for name in rows[0]}
