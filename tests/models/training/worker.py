"""A process that trains a tiny model: killed again and again, or several processes that train together.

Run as a script it imports everything once and forks for each run, so that a kill costs no start of an interpreter.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from webrec.models.adapter import AdaptedLlama
from webrec.models.config import LoraTuning, SoftPromptTuning
from webrec.models.mp_head.config import MPHeadConfig
from webrec.models.packing import EncodedExample
from webrec.models.training.config import TrainingConfig
from webrec.models.training.loop import train
from webrec.models.training.metrics import read_metrics

VOCABULARY = 96
TIMED = ("seconds", "examples_per_second", "tokens_per_second")


def tiny_llama(dtype: torch.dtype = torch.float32) -> LlamaForCausalLM:
    """Two layers of random weights, the same on every call."""
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.2,
        attn_implementation="sdpa",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        return LlamaForCausalLM(config).to(dtype).eval()


def tiny_adapted(tuning: str = "lora", head: dict[str, Any] | None = None, dropout: float = 0.0) -> AdaptedLlama:
    """An untrained adapter on it."""
    chosen = LoraTuning(rank=4, dropout=dropout) if tuning == "lora" else SoftPromptTuning(kind="soft_prompt", tokens=3)
    return AdaptedLlama.new(tiny_llama(), chosen, None if head is None else MPHeadConfig(**head), seed=5)


def task(count: int, seed: int) -> list[EncodedExample]:
    """Candidates of one to four tokens; the taken one begins with a token that the prompt names."""
    draw = random.Random(seed)
    made = []
    for number in range(count):
        first = draw.sample(range(60, 90), 5)
        candidates = [[token, *draw.choices(range(4, 60), k=draw.randint(0, 3))] for token in first]
        target = draw.randrange(5)
        prompt = draw.choices(range(4, 60), k=draw.randint(6, 14))
        prompt[draw.randrange(6)] = first[target]
        made.append(EncodedExample(f"user {number}", prompt, candidates, target))
    return made


def numbers(output: Path) -> list[dict[str, Any]]:
    """What the metrics say, less the times."""
    return [{k: v for k, v in row.items() if k not in TIMED} for row in read_metrics(output / "metrics.jsonl")]


def run_worker(**options: Any) -> dict[str, Any]:
    """Run this file in a process of its own; returns the JSON object it prints last."""
    done = subprocess.run(
        [sys.executable, __file__, json.dumps(options)],
        capture_output=True,
        text=True,
        timeout=options.get("seconds", 240),
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**answer, "errors": done.stderr[-2000:]}


def _train(options: dict[str, Any], rank: int = 0, world: int = 1, rendezvous: str = "") -> None:
    adapted = tiny_adapted(**options["adapter"])

    def wrap(module: torch.nn.Module) -> torch.nn.Module:
        return module if world == 1 else torch.nn.parallel.DistributedDataParallel(module)

    if world > 1:
        torch.distributed.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=world)
    config = TrainingConfig(**options["config"])
    train_set, valid_set = task(options["train"], 1), task(options["valid"], 2)
    output = Path(options.get("outputs", {}).get(str(rank), options["output"]))
    train(adapted, train_set, valid_set, config, output, fingerprint={}, rank=rank, world=world, wrap=wrap)
    parameters = sum(float(p.detach().double().sum()) for p in adapted.trained().values())
    (output / f"rank-{rank}.json").write_text(json.dumps(parameters))
    if world > 1:
        torch.distributed.destroy_process_group()


def _forked(job: Callable[[], None]) -> int:
    """Run `job` in a fork of this process; its id. Status 0 if it came to its end."""
    if (child := os.fork()) != 0:
        return child
    status = 1
    try:
        job()
        status = 0
    except BaseException as error:  # noqa: BLE001 (the parent reads the status; nothing may go on in the fork)
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    finally:
        sys.stderr.flush()
        os._exit(status)


def _kill_again_and_again(options: dict[str, Any]) -> dict[str, Any]:
    """Start the run, kill it after a time drawn by chance, until one start reaches the end or `kills` are done.

    Slow machines need longer until there is anything to lose: the times grow until there is.
    """
    draw, kills, late = random.Random(options["seed"]), 0, 0
    soonest, latest = options["between"]
    while True:
        child = _forked(lambda: _train(options))
        if kills < options["kills"]:
            time.sleep(draw.uniform(soonest, latest))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            kills += 1
            if (Path(options["output"]) / "checkpoints").is_dir():
                late += 1
            else:
                latest *= 1.1
            continue
        return {"status": os.WEXITSTATUS(status), "kills": kills, "kills_after_a_checkpoint": late}


def _together(options: dict[str, Any]) -> dict[str, Any]:
    """One run by `world` processes."""
    world = options["world"]
    Path(options["output"]).mkdir(parents=True, exist_ok=True)
    meeting = str(Path(options["output"]) / "rendezvous")
    Path(meeting).unlink(missing_ok=True)  # of processes that ended badly
    children = [_forked(lambda rank=rank: _train(options, rank, world, meeting)) for rank in range(world)]
    return {"statuses": [os.WEXITSTATUS(os.waitpid(child, 0)[1]) for child in children]}


if __name__ == "__main__":
    torch.set_num_threads(1)
    given = json.loads(sys.argv[1])
    print(json.dumps(_together(given) if "world" in given else _kill_again_and_again(given)))
