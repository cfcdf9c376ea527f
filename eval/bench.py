"""`make bench`: ratios measured side by side in one run on the default backbone. No absolute time means anything here."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from webrec.eval.bench_heads import HEADS, LENGTHS, growth, llama_7b, measure_growth, measure_heads
from webrec.eval.bench_index import SIZES, measure_index
from webrec.models.backbone import Backbone, get_backbone
from webrec.models.config import BackboneConfig
from webrec.models.influence import influence
from webrec.models.scoring import score_candidates

PROMPT_TOKENS = 512
CANDIDATES = 20
TITLE_TOKENS = 8
GENERATED_TOKENS = 64
ROUNDS = 5


def _interleaved(first: Callable[[], Any], second: Callable[[], Any], rounds: int) -> list[float]:
    """`first`'s time over `second`'s, measured in turns so that a noisy machine hits both."""
    first(), second()  # warm up
    ratios = []
    for _ in range(rounds):
        times = []
        for work in (first, second):
            began = time.perf_counter()
            work()
            times.append(time.perf_counter() - began)
        ratios.append(times[0] / times[1])
    return ratios


def measure(backbone: Backbone, rounds: int) -> dict[str, Any]:
    """Every ratio with its median, least and greatest value."""
    import torch

    generator = torch.Generator().manual_seed(0)

    def ids(count: int) -> list[int]:
        vocabulary = backbone.model.config.vocab_size
        return torch.randint(100, vocabulary, (count,), generator=generator).tolist()

    prompt, generated = ids(PROMPT_TOKENS), ids(GENERATED_TOKENS)
    candidates = [ids(TITLE_TOKENS) for _ in range(CANDIDATES)]

    def forward(tokens: int) -> Callable[[], Any]:
        step = torch.tensor([ids(tokens)], device=backbone.device)

        def run() -> None:
            with torch.inference_mode():
                backbone.model.model(input_ids=step, use_cache=False)

        return run

    def packed() -> None:
        score_candidates(backbone, prompt, candidates)

    def one_by_one() -> None:
        for candidate in candidates[:4]:  # a fifth of the work, scaled below
            score_candidates(backbone, prompt, [candidate])

    def probe() -> None:
        influence(backbone, prompt, generated, -1, "mean")

    alone = [CANDIDATES / 4 / r for r in _interleaved(packed, one_by_one, rounds)]
    return {
        "one-by-one over packed scoring": _summary(alone),
        "packed scoring over one forward of as many tokens": _summary(
            _interleaved(packed, forward(PROMPT_TOKENS + CANDIDATES * (TITLE_TOKENS - 1)), rounds)
        ),
        "attention of generated rows over a plain forward": _summary(
            _interleaved(probe, forward(PROMPT_TOKENS + GENERATED_TOKENS), rounds)
        ),
    }


def _summary(ratios: list[float]) -> dict[str, float]:
    return {"median": statistics.median(ratios), "least": min(ratios), "greatest": max(ratios)}


def _with_a_model(chosen: argparse.Namespace) -> dict[str, Any]:
    import torch

    backbone = None if chosen.llama_7b else get_backbone(BackboneConfig())
    model = llama_7b("cuda") if backbone is None else backbone.model
    device = torch.cuda.get_device_name() if model.device.type == "cuda" else platform.processor() or "cpu"
    report: dict[str, Any] = {
        "backbone": "LLaMA-2-7B's shape, random weights" if backbone is None else backbone.name,
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": f"{model.device} ({device})",
        "threads": torch.get_num_threads(),
        "versions": _versions("webrec", "torch", "transformers"),
        "rounds": chosen.rounds,
    }
    if backbone is not None and chosen.only != "heads":
        report |= {
            "prompt_tokens": PROMPT_TOKENS,
            "candidates": f"{CANDIDATES} of {TITLE_TOKENS} tokens",
            "generated_tokens": GENERATED_TOKENS,
            "ratios": measure(backbone, chosen.rounds),
        }
    if chosen.only != "graph":
        lengths = [n for n in LENGTHS if n <= chosen.max_tokens]
        rows = measure_heads(model, chosen.rounds, lengths, say=_say)
        report["heads"] = rows
        if len([n for n in lengths if n >= 1024]) > 1:
            alone = measure_growth(model, 4 * chosen.rounds + 1, lengths)
            report["heads_alone"] = alone
            report["head_time_grows_as_tokens_to_the_power"] = {name: round(growth(alone, name), 2) for name in HEADS}
    return report


def _versions(*names: str) -> dict[str, str]:
    return {name: version(name) for name in names}


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Measure, print as JSON, and write it where `--output` says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="measurements of each ratio (default: %(default)s)")
    parser.add_argument("--only", choices=["graph", "heads", "index", "actors"], help="measure one part only")
    parser.add_argument(
        "--max-tokens", type=int, default=max(LENGTHS), help="longest prompt for heads (default: %(default)s)"
    )
    parser.add_argument(
        "--llama-7b", action="store_true", help="heads beside LLaMA-2-7B's shape, random weights, bfloat16, on CUDA"
    )
    parser.add_argument(
        "--pages", type=Path, help="folder of pages for the local index; without it that is not measured"
    )
    parser.add_argument(
        "--sizes", type=int, nargs="*", default=SIZES, help="pages of the recombined collections (default: %(default)s)"
    )
    parser.add_argument("--output", type=Path, help="file to write the result to, as JSON")
    chosen = parser.parse_args()
    if chosen.only == "index" and chosen.pages is None:
        parser.error("--only index needs --pages, a folder or JSONL file of pages")
    report: dict[str, Any] = {} if chosen.only in {"index", "actors"} else _with_a_model(chosen)
    if chosen.pages is not None and chosen.only in {None, "index"}:
        report |= {
            "machine": platform.machine(),
            "versions": _versions("webrec", "tantivy") | report.get("versions", {}),
        }
        report["index"] = measure_index(chosen.pages, chosen.sizes, say=_say)
    if chosen.only == "actors":  # takes a quarter of an hour, so only when asked for
        from webrec.eval.bench_actors import measure_actors

        rows = measure_actors(rounds=min(chosen.rounds, 2), say=_say)
        report |= {
            "machine": platform.machine(),
            "cpus": os.cpu_count(),
            "versions": _versions("webrec", "torch", "ray"),
        }
        report["actors"] = rows
    text = json.dumps(report, indent=1)
    print(text)
    if chosen.output is not None:
        chosen.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
