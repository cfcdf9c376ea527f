"""`webrec train` killed with SIGKILL at random times, and called again until it ends, ends as if it never was."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .runs import numbers, write_run

WEBREC = Path(sys.executable).parent / "webrec"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_killed_and_called_again(tmp_path: Path, tiny_bytes: Path) -> None:
    settings = {"training": {"epochs": 8}, "tuning": {"kind": "lora", "dropout": 0.2}}
    unbroken, killed = (write_run(tmp_path / name, tiny_bytes, **settings) for name in ("unbroken", "killed"))
    began = time.monotonic()
    expected = subprocess.run([WEBREC, "train", unbroken], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    whole = time.monotonic() - began
    draw, kills, late = random.Random(4), 0, 0
    while True:
        process = subprocess.Popen(
            [WEBREC, "train", killed], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            # The first half is start-up; later kills are nearer to it, so that each call gets somewhere.
            out, errors = process.communicate(timeout=whole * draw.uniform(0.1, 1.0) if kills < 8 else 120)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
            late += (killed.parent / "run" / "checkpoints").is_dir()
            continue
        assert process.returncode == 0, errors
        break
    assert kills > 2
    assert late > 0
    first, second = unbroken.parent / "run", killed.parent / "run"
    assert numbers(second) == numbers(first)
    files = sorted(p.relative_to(first) for p in (first / "adapter").rglob("*.safetensors"))
    assert len(files) == 2
    for file in files:
        assert (second / file).read_bytes() == (first / file).read_bytes()
    assert out.partition("; adapter")[0].splitlines()[-1] == expected.stdout.partition("; adapter")[0]
