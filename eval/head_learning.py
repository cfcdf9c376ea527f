"""What a head can learn: the answer is decided by two tokens far apart in long noise.

    python -m webrec.eval.head_learning --output eval/results/head_learning.json

A prompt of noise holds one of four left and one of four right tokens, at least a third of it apart, and ends in a question
token. The answer, one of 16, names both: chance is 1/16, and whoever finds one of the two only is right once in four. A tiny
frozen LLaMA of random weights with a LoRA learns it, alone and with each head; once with plain causal attention, and once
with the question cut off from the prompt, so that the answer can be reached through the head only. Every cell has the same
budget, and finished cells in the output file are not computed again. The learning rates are those of one pilot on another
seed, the same for all.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from webrec.eval.provenance import provenance
from webrec.models.config import LoraTuning
from webrec.models.mp_head.config import MPHeadConfig

if TYPE_CHECKING:
    import torch

    from webrec.models.adapter import AdaptedLlama

CLASSES, NOISE_KINDS = 4, 16
LEFT, RIGHT, ANSWERS, QUESTION, NOISE = 0, CLASSES, 8, 24, 25
VOCABULARY = NOISE + NOISE_KINDS
TOKENS, BATCH, STEPS, TEST = 64, 32, 1500, 1000
RATE, GATE_RATE = 3e-3, 3e-2
K = 16
HEADS: dict[str, MPHeadConfig | None] = {
    "model alone": None,
    "literal, k 16": MPHeadConfig(layers=(0,), top_k=K),
    "literal, k = N": MPHeadConfig(layers=(0,), top_k=None),
    "literal without self loops, k = N": MPHeadConfig(layers=(0,), top_k=None, self_loops=False),
    "LIN-16": MPHeadConfig(kind="linear", layers=(0,), top_k=K),
    "LIN-Head (k = N)": MPHeadConfig(kind="linear", layers=(0,), top_k=None),
    "pairwise, k 16": MPHeadConfig(kind="pairwise", layers=(0,), top_k=K),
    "pairwise, k = N": MPHeadConfig(kind="pairwise", layers=(0,), top_k=None),
}
PATHS = ("attention and head", "head only")


def draw(count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """`count` prompts, shape (count, TOKENS + 1), the question last; and their answers from 0 to 15."""
    import torch

    def numbers(limit: int, *shape: int) -> torch.Tensor:
        return torch.randint(limit, shape, generator=generator)

    ids = NOISE + numbers(NOISE_KINDS, count, TOKENS + 1)
    ids[:, -1] = QUESTION
    least = TOKENS // 3
    first = numbers(TOKENS - least, count)
    second = first + least + (torch.rand(count, generator=generator) * (TOKENS - least - first)).long()
    swap = numbers(2, count).bool()
    left, right = numbers(CLASSES, count), numbers(CLASSES, count)
    rows = torch.arange(count)
    ids[rows, torch.where(swap, second, first)] = LEFT + left
    ids[rows, torch.where(swap, first, second)] = RIGHT + right
    return ids, CLASSES * left + right


def build(head: MPHeadConfig | None, seed: int) -> AdaptedLlama:
    """The tiny LLaMA of that seed with its adapter."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from webrec.models.adapter import AdaptedLlama

    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.125,  # 1/√64: random layers that pass on what they read
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        llama = LlamaForCausalLM(config)
    attention = ("q_proj", "k_proj", "v_proj", "o_proj")
    return AdaptedLlama.new(llama, LoraTuning(rank=8, targets=attention), head, seed=seed)


def answer_logits(adapted: AdaptedLlama, ids: torch.Tensor, path: str) -> torch.Tensor:
    """Logits of the answers, shape (batch, 16)."""
    import torch

    length = ids.shape[1]
    seen = torch.ones(length, length, dtype=torch.bool).tril()
    if path == "head only":
        seen[-1, :-1] = False
    mask = torch.zeros(length, length).masked_fill(~seen, torch.finfo(torch.float32).min)
    nodes = {} if adapted.head is None else {"node_mask": torch.ones_like(ids, dtype=torch.bool)}
    hidden = adapted.llama.model(
        input_ids=ids, attention_mask=mask.expand(len(ids), 1, -1, -1), use_cache=False, **nodes
    ).last_hidden_state[:, -1]
    logits: torch.Tensor = adapted.llama.lm_head(hidden)
    return logits[:, ANSWERS : ANSWERS + CLASSES**2]


def learn(head: MPHeadConfig | None, path: str, seed: int, steps: int = STEPS) -> dict[str, Any]:
    """Train one cell and measure it on prompts it has not seen."""
    import torch
    from torch.nn import functional as F

    from webrec.models.training.config import TrainingConfig
    from webrec.models.training.optimiser import make_optimiser, rate_factor, set_rates

    began = time.perf_counter()
    adapted = build(head, seed).train()
    trained = adapted.trained()
    config = TrainingConfig(learning_rate=RATE, gate_learning_rate=GATE_RATE, warmup_steps=20, schedule="cosine")
    optimiser = make_optimiser(trained, config)
    generator = torch.Generator().manual_seed(1_000 + seed)
    for step in range(steps):
        ids, answers = draw(BATCH, generator)
        set_rates(optimiser, rate_factor(step, steps, config))
        optimiser.zero_grad(set_to_none=True)
        loss = F.cross_entropy(answer_logits(adapted, ids, path), answers)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(list(trained.values()), 1.0)
        optimiser.step()
    adapted.eval()
    ids, answers = draw(TEST, torch.Generator().manual_seed(9_000 + seed))
    with torch.inference_mode():
        right = answer_logits(adapted, ids, path).argmax(-1) == answers
    counts = {name: sum(p.numel() for n, p in trained.items() if n.startswith(name)) for name in ("peft", "head")}
    return {
        "accuracy": float(right.double().mean()),
        "last_loss": float(loss.detach()),
        "lora_parameters": counts["peft"],
        "head_parameters": counts["head"],
        "seconds": round(time.perf_counter() - began, 1),
    }


def table(results: dict[str, Any]) -> str:
    """The results as Markdown: mean accuracy over seeds, least and greatest in brackets."""
    rows = ["| system | parameters of the head | attention and head | head only |", "| --- | --- | --- | --- |"]
    for name in HEADS:
        cells = {path: [c for c in results["cells"] if (c["system"], c["path"]) == (name, path)] for path in PATHS}
        parameters = next((c["head_parameters"] for path in PATHS for c in cells[path]), 0)
        rows.append(f"| {name} | {parameters:,} | {' | '.join(_spread(cells[path]) for path in PATHS)} |")
    return "\n".join(rows) + "\n"


def _spread(cells: list[dict[str, Any]]) -> str:
    found = [c["accuracy"] for c in cells]
    if not found:
        return "not measured"
    return f"{statistics.mean(found):.2f} ({min(found):.2f}-{max(found):.2f}; {len(found)} seeds)"


def main() -> None:
    """Compute the cells that the output file lacks, and print the table."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="seeds of each cell (default: %(default)s)")
    parser.add_argument("--path", choices=PATHS, help="compute the cells of one path only")
    parser.add_argument("--output", type=Path, required=True, help="JSON file that results are kept in")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    settings = {"tokens": TOKENS, "batch": BATCH, "steps": STEPS, "test": TEST, "rate": RATE, "gate_rate": GATE_RATE}
    fresh = {"settings": settings, **provenance("torch", "transformers", "peft")}
    kept = _Results(chosen.output, {**fresh, "cells": []})
    if kept.read()["settings"] != settings:
        parser.error(f"{chosen.output} was made with other settings; give another file")
    paths = [chosen.path] if chosen.path else PATHS[::-1]
    todo = [(name, path, seed) for path in paths for seed in range(chosen.seeds) for name in HEADS]
    for number, (name, path, seed) in enumerate(todo, 1):
        if (name, path, seed) in {(c["system"], c["path"], c["seed"]) for c in kept.read()["cells"]}:
            continue
        cell = {"system": name, "path": path, "seed": seed, **learn(HEADS[name], path, seed)}
        kept.add(cell)
        print(
            f"{number}/{len(todo)} {name}, {path}, seed {seed}: {cell['accuracy']:.3f}, {cell['seconds']} s", flush=True
        )
    print(table(kept.read()))


class _Results:
    """The output file, which several processes may add to, each with a path of its own."""

    def __init__(self, path: Path, empty: dict[str, Any]) -> None:
        self.path, self.empty = path, empty

    def read(self) -> dict[str, Any]:
        """What is there; what is there at the start if there is no file."""
        if not self.path.exists():
            return self.empty
        found: dict[str, Any] = json.loads(self.path.read_text(encoding="utf-8"))
        return found

    def add(self, cell: dict[str, Any]) -> None:
        """Put `cell` to the others; the file is whole at any time."""
        with FileLock(f"{self.path}.lock"):
            results = self.read()
            results["cells"].append(cell)
            written = self.path.with_suffix(".new")
            written.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
            written.replace(self.path)


if __name__ == "__main__":
    main()
