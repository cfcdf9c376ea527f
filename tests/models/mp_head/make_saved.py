"""Writes saved/format_<version>_<kind>: small heads as this version saves them, and what the equations give for them.

Run once for each new format version, as `python -m tests.models.mp_head.make_saved`; folders that are there stay.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from webrec.models.mp_head.config import HeadShape, MPHeadConfig
from webrec.models.mp_head.files import FORMAT_VERSION
from webrec.models.mp_head.model import MPHead

from .cases import make_inputs, make_layer
from .reference import run_reference

SAVED = Path(__file__).parent / "saved"
SHAPE = HeadShape(hidden=8, head_dim=4, kv_heads=2)
CONFIGS: dict[str, dict[str, Any]] = {
    "literal": {"kind": "literal", "layers": (0, 3), "hops": 2, "top_k": 4, "self_loops": False},
    "linear": {"kind": "linear", "layers": (1,), "top_k": None},
    "pairwise": {"kind": "pairwise", "layers": (2,), "hops": 2, "top_k": 4, "rotary": True},
}


def make(folder: Path, config: MPHeadConfig) -> None:
    head = MPHead(config, SHAPE)
    for number, layer in head.layers.items():
        layer.load_state_dict(make_layer(config, int(number), SHAPE).float().state_dict())
    head.save_pretrained(folder)
    inputs = make_inputs(1, 7, queries=2, shape=SHAPE).to(torch.float32)
    inputs.mask[0, 2] = False
    qkv = (inputs.query[0], inputs.key[0], inputs.value[0])
    expected = {"query": qkv[0].tolist(), "key": qkv[1].tolist(), "value": qkv[2].tolist()}
    described: dict[str, Any] = {"inputs": expected, "node_mask": inputs.mask[0].tolist(), "layers": {}}
    for number, layer in head.layers.items():
        found = run_reference(config, layer.state_dict(), head.task.z, qkv, inputs.mask[0].tolist())
        described["layers"][number] = {"kept": found.kept, "output": found.output.round(7).tolist()}
    (folder / "expected.json").write_text(json.dumps(described) + "\n", encoding="utf-8")


if __name__ == "__main__":
    for kind, settings in CONFIGS.items():
        folder = SAVED / f"format_{FORMAT_VERSION}_{kind}"
        if not folder.exists():
            make(folder, MPHeadConfig.model_validate(settings))
