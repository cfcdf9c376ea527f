"""Memory that reading attention takes beside the pass that it reads: ours, and returning the attention of every layer."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from webrec.eval.bench_heads import peak_mib
from webrec.eval.bench_hugging_face import read_attentions
from webrec.models.backbone import Backbone
from webrec.models.influence import influence

CONTEXTS, GENERATED = (512, 1024, 2048), (128, 256)


def measure_memory(backbone: Backbone, say: Callable[[str], None] = print) -> list[dict[str, Any]]:
    """MiB beyond the weights at their peak: of a plain pass, of extraction in one pass, of all attentions; one row a length."""
    import torch

    generator = torch.Generator().manual_seed(0)
    rows = []
    for context in CONTEXTS:
        for generated in GENERATED:
            high = backbone.model.config.vocab_size
            ids = torch.randint(100, high, (context,), generator=generator).tolist()
            prompt, text = ids[:-generated], ids[-generated:]

            ways: dict[str, Callable[[], object]] = {
                "plain": partial(_read, backbone, ids),
                "ours": partial(influence, backbone, prompt, text, -1, "mean"),
                "all layers": partial(read_attentions, backbone, prompt, text),
            }
            row: dict[str, Any] = {"context": context, "generated": generated}
            for name, way in ways.items():
                way()
                row[name] = round(peak_mib(way, backbone.device)[0], 1)
            rows.append(row)
            say(json.dumps(row))
    return rows


def _read(backbone: Backbone, ids: list[int]) -> None:
    import torch

    with torch.inference_mode():
        backbone.model.model(input_ids=torch.tensor([ids], device=backbone.device), use_cache=True)
