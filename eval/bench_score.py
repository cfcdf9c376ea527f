"""Packed scoring beside one plain forward over as many tokens, and beside one forward a candidate as Hugging Face would have it.

    make bench ARGS="--only score --dtype float32 --output eval/results/bench_score.json"

One thread, random tokens, the default backbone. The plain forward has logits for the title tokens only, as ours does. One
by one is measured on a few candidates and multiplied: nothing of one candidate helps the next.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from webrec.models.backbone import Backbone
from webrec.models.scoring import score_candidates
from webrec.models.threads import torch_threads

CANDIDATES = 20
TITLES = (8, 20, 40)
PROMPTS = (800, 2000, 6000)


def measure_scoring(
    backbone: Backbone,
    rounds: int,
    prompts: Sequence[int] = PROMPTS,
    titles: Sequence[int] = TITLES,
    say: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
    """One row for each length of prompt and titles, with its ratios as median, least and greatest."""
    rows = []
    with torch_threads(1):
        for prompt in prompts:
            for title in titles:
                rows.append({"prompt": prompt, "title": title, **_cell(backbone, rounds, prompt, title)})
                say(json.dumps(rows[-1]))
    return rows


def _cell(backbone: Backbone, rounds: int, prompt_tokens: int, title_tokens: int) -> dict[str, Any]:
    import torch

    generator = torch.Generator().manual_seed(0)
    vocabulary = backbone.model.config.vocab_size

    def ids(count: int) -> list[int]:
        drawn: list[int] = torch.randint(100, vocabulary, (count,), generator=generator).tolist()
        return drawn

    prompt, titles = ids(prompt_tokens), [ids(title_tokens) for _ in range(CANDIDATES)]
    own = CANDIDATES * (title_tokens - 1)
    as_many = torch.tensor([ids(prompt_tokens + own)], device=backbone.device)
    kept = torch.arange(prompt_tokens - 1, prompt_tokens + own, device=backbone.device)
    alone = torch.tensor([[*prompt, *titles[0][:-1]]], device=backbone.device)

    def plain() -> None:
        backbone.model(input_ids=as_many, use_cache=False, logits_to_keep=kept)

    def packed() -> None:
        score_candidates(backbone, prompt, titles)

    def one() -> None:
        backbone.model(input_ids=alone, use_cache=False, logits_to_keep=title_tokens)

    ways = (plain, packed, one)
    seconds: dict[Any, list[float]] = {way: [] for way in ways}
    with torch.inference_mode():
        for number in range(rounds + 1):
            for way in ways:  # in turns, so that a noisy machine hits all of them
                began = time.perf_counter()
                way()
                if number:
                    seconds[way].append(time.perf_counter() - began)
    return {
        "packed_over_plain": summary([p / f for p, f in zip(seconds[packed], seconds[plain], strict=True)]),
        "one_by_one_over_packed": summary(
            [CANDIDATES * o / p for o, p in zip(seconds[one], seconds[packed], strict=True)]
        ),
    }


def summary(values: Sequence[float]) -> dict[str, float]:
    """Median, least and greatest, and how many there are."""
    return {
        "median": round(statistics.median(values), 4),
        "least": round(min(values), 4),
        "greatest": round(max(values), 4),
        "rounds": len(values),
    }


def spread(row: Mapping[str, Any], digits: int = 2) -> str:
    """A `summary` as text: the median, and the extremes."""
    return f"{row['median']:.{digits}f} ({row['least']:.{digits}f}-{row['greatest']:.{digits}f})"
