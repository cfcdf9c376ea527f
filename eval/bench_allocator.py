"""What allocators cost a scoring pass: with what `webrec` asks of them, without a part of that, and as glibc and MKL are by themselves.

    OMP_NUM_THREADS=1 make bench ARGS="--only allocator --output eval/results/bench_allocator.json"

Each in a process of its own, in turns, processor time. Elsewhere than on glibc nothing differs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from webrec.eval.bench_score import spread, summary
from webrec.models.allocator import ENVIRONMENT, MKL_BUFFERS

_PROGRAM = """
import json, random, sys, time
from webrec.models.backbone import get_backbone
from webrec.models.config import BackboneConfig
from webrec.models.scoring import score_candidates
backbone, draw = get_backbone(BackboneConfig(dtype=sys.argv[1])), random.Random(0)
def ids(count):
    return [draw.randrange(100, 40_000) for _ in range(count)]
prompt, titles = ids(int(sys.argv[2])), [ids(8) for _ in range(20)]
seconds = []
for _ in range(4):
    began = time.process_time()
    score_candidates(backbone, prompt, titles)
    seconds.append(time.process_time() - began)
print(json.dumps(min(seconds[1:])))
"""
TOKENS = 1800
FORMATS = ("float32", "bfloat16")
_TRIM = "MALLOC_TRIM_THRESHOLD_"
WAYS: dict[str, dict[str, str]] = {
    "as webrec sets them": ENVIRONMENT,
    "without a limit for trimming": {name: value for name, value in ENVIRONMENT.items() if name != _TRIM},
    "with MKL's buffers kept": {name: value for name, value in ENVIRONMENT.items() if name != MKL_BUFFERS},
    "glibc's and MKL's own": {},
}


def measure_allocator(
    rounds: int, tokens: int = TOKENS, formats: tuple[str, ...] = FORMATS, say: Callable[[str], None] = print
) -> list[dict[str, Any]]:
    """One row for each number format: the time of each of `WAYS` over that of the first, by round."""
    rows = []
    told = ("MALLOC_", "MKL_", *ENVIRONMENT)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(told)}
    for dtype in formats:
        taken: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way, asked in WAYS.items():
                ran = subprocess.run(  # noqa: S603 - our own program
                    [sys.executable, "-c", _PROGRAM, dtype, str(tokens)],
                    check=True,
                    capture_output=True,
                    text=True,
                    env={**clean, **asked},
                )
                taken[way].append(json.loads(ran.stdout.splitlines()[-1]))
        first = taken[next(iter(WAYS))]
        over = {way: summary([s / f for s, f in zip(taken[way], first, strict=True)]) for way in WAYS}
        rows.append({"dtype": dtype, "tokens": tokens, "over_the_first": over})
        say(json.dumps(rows[-1]))
    return rows


def allocator_table(rows: list[dict[str, Any]]) -> str:
    """As Markdown."""
    ways = list(rows[0]["over_the_first"])[1:]
    lines = [f"| format | {' | '.join(ways)} |", "| --- |" + " --- |" * len(ways)]
    for row in rows:
        cells = " | ".join(spread(row["over_the_first"][way]) for way in ways)
        lines.append(f"| {row['dtype']} | {cells} |")
    return "\n".join(lines) + "\n"
