"""What oneDNN's float32 products bring over MKL's, which torch takes by itself: reading, scoring, training, encoding pages.

    make bench ARGS="--only products --output eval/results/bench_products.json"

One thread, the default backbone and MiniLM in float32, random tokens, both ways in turns. Where `models/onednn_linear.py` leaves the
choice to torch there is nothing to measure, and no row.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

from webrec.eval.bench_score import spread, summary
from webrec.models.backbone import get_backbone, sharing_weights
from webrec.models.config import BackboneConfig, LoraTuning
from webrec.models.scoring import score_candidates
from webrec.models.threads import torch_threads

Work = tuple[Any, Callable[[], object]]
"""A model, and what is done with it."""


def measure_products(rounds: int, say: Callable[[str], None] = print) -> list[dict[str, Any]]:
    """One row for each kind of work: its time by MKL over that by oneDNN, as median, least and greatest."""
    from webrec.models.onednn_linear import is_quicker

    rows: list[dict[str, Any]] = []
    if not is_quicker():
        return rows
    with torch_threads(1):
        for name, (model, work) in _works().items():
            ratios = []
            for number in range(rounds + 1):
                own = _seconds(work)
                with _by_mkl(model):
                    other = _seconds(work)
                if number:
                    ratios.append(other / own)
            rows.append({"work": name, "mkl_over_onednn": summary(ratios)})
            say(json.dumps(rows[-1]))
    return rows


def _works() -> dict[str, Work]:
    import torch

    from webrec.models.adapter import AdaptedLlama
    from webrec.models.packing import EncodedExample, pack
    from webrec.models.sentence_encoder import get_sentence_encoder
    from webrec.models.training.config import TrainingConfig
    from webrec.models.training.losses import LossModule

    backbone = get_backbone(BackboneConfig(dtype="float32", device="cpu"))
    generator = torch.Generator().manual_seed(0)

    def ids(count: int) -> list[int]:
        drawn: list[int] = torch.randint(100, 40_000, (count,), generator=generator).tolist()
        return drawn

    titles = [ids(8) for _ in range(20)]
    scoring = {
        f"scoring 20 titles of 8 tokens after {count:,}": (
            backbone.model,
            partial(score_candidates, backbone, ids(count), titles),
        )
        for count in (338, 1800)
    }
    adapted = AdaptedLlama.new(sharing_weights(backbone.model), LoraTuning(), None)
    step, example = LossModule(adapted.train(), TrainingConfig()), EncodedExample("x", ids(350), titles, 0)
    encoder, page = get_sentence_encoder(), " ".join(f"word{n}" for n in range(150))
    return scoring | {
        "a training step of 350 tokens and 20 titles": (
            adapted.llama,
            lambda: step(pack([example]), torch.ones(1)).backward(),
        ),
        "encoding 32 passages": (encoder.loaded.model, lambda: encoder.encode([page] * 32)),
    }


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


@contextmanager
def _by_mkl(model: Any) -> Iterator[None]:
    from torch import nn

    from webrec.models import onednn_linear

    changed: list[Any] = [module for module in model.modules() if type(module) is onednn_linear.OneDnnLinear]
    try:
        for module in changed:
            module.__class__ = nn.Linear
        with patch.object(onednn_linear, "is_quicker", lambda: False):
            yield
    finally:
        for module in changed:
            module.__class__ = onednn_linear.OneDnnLinear


def products_table(rows: list[dict[str, Any]]) -> str:
    """As Markdown."""
    lines = ["| | by MKL over by oneDNN |", "| --- | --- |"]
    lines += [f"| {row['work']} | {spread(row['mkl_over_onednn'])} |" for row in rows]
    return "\n".join(lines) + "\n"
