"""The bench of a training step, on a tiny model."""

from __future__ import annotations

from pathlib import Path

import pytest

from webrec.eval.bench_train import _cell, training_table
from webrec.models.backbone import get_backbone
from webrec.models.config import BackboneConfig

pytest.importorskip("peft")


def test_every_way_is_measured(tiny_llama: Path) -> None:
    backbone = get_backbone(BackboneConfig(backbone=str(tiny_llama), dtype="float32"))
    row = _cell(backbone, 2, 30, 3, 4, vocabulary=300, layer=1)
    assert set(row) == {"blocks_over_eager", "blocks_over_fused"}
    assert all(one["rounds"] == 2 and one["least"] > 0 for one in row.values())
    table = training_table({"train": [{"dtype": "float32", "shape": [30, 3, 4], **row}]})
    assert table.splitlines()[2].startswith("| float32 | 30 tokens, 3 of 4 | ")
