"""A step of training on one example, forward and backward, by how its attention is computed.

    make bench ARGS="--only train --output eval/results/bench_train.json"

One thread, random tokens, the default backbone with a LoRA and the pairwise head, candidates packed behind the prompt. `fused` is
torch's kernel with a mask, `eager` transformers' plain products; both are what `webrec train` would do without blocks of rows.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, Literal

from webrec.eval.bench_score import spread, summary
from webrec.models.backbone import Backbone, get_backbone, sharing_weights
from webrec.models.config import BackboneConfig, LoraTuning
from webrec.models.mp_head.config import MPHeadConfig
from webrec.models.threads import torch_threads

SHAPES = ((350, 5, 10), (350, 20, 10))
"""Tokens of the prompt, candidates, tokens of each."""


def measure_training(rounds: int, say: Callable[[str], None] = print) -> list[dict[str, Any]]:
    """One row for each number format and shape, with its ratios as median, least and greatest."""
    from webrec.models.int8 import is_exact

    formats: tuple[Literal["float32", "int8"], ...] = ("float32", "int8") if is_exact() else ("float32",)
    rows = []
    with torch_threads(1):
        for dtype in formats:
            backbone = get_backbone(BackboneConfig(dtype=dtype, device="cpu"))
            for shape in SHAPES:
                rows.append({"dtype": dtype, "shape": list(shape), **_cell(backbone, rounds, *shape)})
                say(json.dumps(rows[-1]))
    return rows


def _cell(
    backbone: Backbone,
    rounds: int,
    prompt_tokens: int,
    candidates: int,
    title_tokens: int,
    *,
    vocabulary: int = 40_000,
    layer: int = 2,
) -> dict[str, Any]:
    import torch

    from webrec.models.adapter import AdaptedLlama
    from webrec.models.blocked_attention import use_blocks
    from webrec.models.packing import EncodedExample, pack
    from webrec.models.training.config import TrainingConfig
    from webrec.models.training.losses import LossModule

    generator = torch.Generator().manual_seed(0)

    def ids(count: int) -> list[int]:
        drawn: list[int] = torch.randint(100, vocabulary, (count,), generator=generator).tolist()
        return drawn

    batch = pack([EncodedExample("x", ids(prompt_tokens), [ids(title_tokens) for _ in range(candidates)], 0)])
    adapted = AdaptedLlama.new(
        sharing_weights(backbone.model), LoraTuning(), MPHeadConfig(kind="pairwise", layers=(layer,))
    )
    step = LossModule(adapted.train(), TrainingConfig())
    ways: dict[str, Callable[[], None]] = {
        "fused": lambda: adapted.llama.set_attn_implementation("sdpa"),
        "eager": lambda: adapted.llama.set_attn_implementation("eager"),
        "blocks": lambda: use_blocks(adapted.llama),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds + 1):
        for way, choose in ways.items():  # in turns, so that a noisy machine hits all of them
            choose()
            began = time.perf_counter()
            step(batch, torch.ones(1)).backward()
            if number:
                seconds[way].append(time.perf_counter() - began)
    return {
        f"blocks_over_{way}": summary([b / o for b, o in zip(seconds["blocks"], seconds[way], strict=True)])
        for way in ("eager", "fused")
    }


def training_table(report: dict[str, Any]) -> str:
    """The ratios as Markdown."""
    lines = ["| format | prompt, candidates | blocks over eager | blocks over fused |", "| --- | --- | --- | --- |"]
    for row in report["train"]:
        prompt, candidates, title = row["shape"]
        ratios = " | ".join(spread(row[f"blocks_over_{way}"]) for way in ("eager", "fused"))
        lines.append(f"| {row['dtype']} | {prompt:,} tokens, {candidates} of {title} | {ratios} |")
    return "\n".join(lines) + "\n"
