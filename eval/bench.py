"""`make bench`: ratios measured side by side in one run on the default backbone. No absolute time means anything here."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from webrec.eval.bench_allocator import measure_allocator
from webrec.eval.bench_cold import measure_cold
from webrec.eval.bench_heads import HEADS, LENGTHS, growth, llama_7b, measure_growth, measure_heads
from webrec.eval.bench_index import SIZES, measure_index
from webrec.eval.bench_memory import measure_memory
from webrec.eval.bench_path import Writer, measure_path
from webrec.eval.bench_picture import picture
from webrec.eval.bench_products import measure_products
from webrec.eval.bench_score import PROMPTS, measure_scoring
from webrec.eval.bench_train import measure_training
from webrec.eval.machine import processor
from webrec.eval.provenance import provenance
from webrec.models.allocator import limit_allocator
from webrec.models.backbone import Backbone, get_backbone
from webrec.models.config import BackboneConfig
from webrec.models.decoding import decode_greedily

ROUNDS = 5
PARTS = ("path", "cold", "memory", "score", "train", "heads", "index", "actors", "allocator", "products")
ALWAYS = PARTS[:6]
"""What is measured unless one part is asked for: index needs pages, actors take a quarter of an hour, and allocator and products measure what is one library's."""
MODEL_PACKAGES = ("torch", "transformers")
PACKAGES = {"index": ("tantivy",), "actors": ("torch", "ray"), "allocator": ("torch",), "products": ("torch",)}
"""What each part is measured with, where that is not `MODEL_PACKAGES`."""


def _path(chosen: argparse.Namespace, backbone: Backbone) -> dict[str, Any]:
    from webrec.models.int8 import is_exact

    others: dict[str, Writer] = {"int8": _write_in_8_bits} if is_exact() else {}
    if chosen.decoder_url is not None:
        others["of decoder_url"] = partial(_write_elsewhere, chosen.decoder_url)
    report = measure_path(backbone, chosen.rounds, dtype=chosen.dtype, others=others, say=_say)
    if chosen.output is not None:
        chosen.output.with_suffix(".svg").write_text(picture(report["shares"]), encoding="utf-8")
    return report


def _write_in_8_bits(prompt: Sequence[int], tokens: int) -> int:
    """Our own decoding with 8-bit products, influence included."""
    return len(decode_greedily(get_backbone(BackboneConfig(dtype="int8")), prompt, tokens, watched=(-1, "mean")).ids)


def _write_elsewhere(url: str, prompt: Sequence[int], tokens: int) -> int:
    """Have an OpenAI-compatible server of the same model write `tokens` tokens."""
    asked = {"prompt": list(prompt), "max_tokens": tokens, "temperature": 0, "ignore_eos": True}
    httpx.post(f"{url.rstrip('/')}/completions", json=asked, timeout=600).raise_for_status()
    return tokens


def _score(chosen: argparse.Namespace, backbone: Backbone) -> list[dict[str, Any]]:
    prompts = [n for n in PROMPTS if n <= chosen.max_tokens]
    return measure_scoring(backbone, chosen.rounds, prompts, say=_say)


def _with_a_model(chosen: argparse.Namespace) -> dict[str, Any]:
    import torch

    backbone = None if chosen.llama_7b else get_backbone(BackboneConfig(dtype=chosen.dtype))
    model = llama_7b("cuda") if backbone is None else backbone.model
    device = torch.cuda.get_device_name() if model.device.type == "cuda" else processor()
    report: dict[str, Any] = {
        "backbone": "LLaMA-2-7B's shape, random weights" if backbone is None else backbone.name,
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": f"{model.device} ({device})",
        "threads": torch.get_num_threads(),
        "rounds": chosen.rounds,
    }
    parts: dict[str, Callable[[Backbone], Any]] = {
        "path": lambda backbone: _path(chosen, backbone),
        "cold": lambda _: measure_cold(min(chosen.rounds, 3), dtype=chosen.dtype, say=_say),
        "memory": lambda backbone: measure_memory(backbone, say=_say),
        "score": lambda backbone: _score(chosen, backbone),
        "train": lambda _: measure_training(chosen.rounds, say=_say),
    }
    for name, part in parts.items():
        if backbone is not None and name in chosen.only:
            report[name] = part(backbone)
    if "heads" in chosen.only:
        lengths = [n for n in LENGTHS if n <= chosen.max_tokens]
        rows = measure_heads(model, chosen.rounds, lengths, say=_say)
        report["heads"] = rows
        if len([n for n in lengths if n >= 1024]) > 1:
            alone = measure_growth(model, 4 * chosen.rounds + 1, lengths)
            report["heads_alone"] = alone
            report["head_time_grows_as_tokens_to_the_power"] = {name: round(growth(alone, name), 2) for name in HEADS}
    return report


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Measure, print as JSON, and write it where `--output` says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="measurements of each ratio (default: %(default)s)")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=PARTS,
        help="measure these parts only (default: all but index, actors, allocator and products)",
    )
    parser.add_argument(
        "--dtype",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
        help="number format of the backbone for path, cold, memory, score and heads (default: %(default)s)",
    )
    parser.add_argument(
        "--max-tokens", type=int, default=max(LENGTHS), help="longest prompt for score and heads (default: %(default)s)"
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
    parser.add_argument(
        "--decoder-url",
        help="OpenAI-compatible server (llama.cpp, vLLM) of the same model, to write beside ours in path",
    )
    parser.add_argument(
        "--output", type=Path, help="file to write the result to, as JSON; path puts a picture beside it"
    )
    chosen = parser.parse_args()
    limit_allocator()  # as the command does
    if chosen.only is None:
        chosen.only = [*ALWAYS, *(["index"] if chosen.pages is not None else [])]
    if "index" in chosen.only and chosen.pages is None:
        parser.error("--only index needs --pages, a folder or JSONL file of pages")
    report = provenance(*sorted({package for part in chosen.only for package in PACKAGES.get(part, MODEL_PACKAGES)}))
    if set(chosen.only) & set(ALWAYS):
        report |= _with_a_model(chosen)
    if "index" in chosen.only:
        report["index"] = measure_index(chosen.pages, chosen.sizes, say=_say)
    if "actors" in chosen.only:
        from webrec.eval.bench_actors import measure_actors

        report["actors"] = measure_actors(rounds=min(chosen.rounds, 2), say=_say)
    if "allocator" in chosen.only:
        report |= {"rounds": chosen.rounds, "allocator": measure_allocator(chosen.rounds, say=_say)}
    if "products" in chosen.only:
        report |= {"rounds": chosen.rounds, "products": measure_products(chosen.rounds, say=_say)}
    text = json.dumps(report, indent=1)
    print(text)
    if chosen.output is not None:
        chosen.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
