"""The bench of decoders, with a server that writes what our own decoder writes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.decoder_server import decoder_server, written_by
from webrec.eval import bench_decoder
from webrec.models.backbone import get_backbone
from webrec.models.config import BackboneConfig


def test_the_same_decoder_twice(tiny_bytes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "result.json"
    with decoder_server(written_by(get_backbone(BackboneConfig(backbone=str(tiny_bytes), dtype="float32")))) as server:
        asked_for = {"--decoder-url": server.url, "--decoder": "fake", "--backbone": str(tiny_bytes)}
        asked_for |= {"--reasoning-tokens": "12", "--rounds": "1", "--output": str(output)}
        monkeypatch.setattr(sys, "argv", ["bench_decoder", *(word for pair in asked_for.items() for word in pair)])
        bench_decoder.main()
        asked = [tuple(body["prompt"]) for _, _, body in server.requests]
    report = json.loads(output.read_text("utf-8"))
    assert [row["user"] for row in report["rows"]] == list(bench_decoder.NAMES)
    assert len(set(asked)) == len(asked) == 2 * len(bench_decoder.NAMES)  # no prompt is warm
    summary = report["summary"]
    assert summary["keyword overlap"]["least"] == summary["tokens the backbone would have written"]["least"] == 1
    assert summary["same text"] == "4 of 4"
    for row in report["rows"]:
        assert row["own_tokens"] == row["external_tokens"] > 0
        assert row["over_forward_without_logits"] > 0
    assert "| keyword overlap | 1.00 | 1.00 | 1.00 |" in bench_decoder.decoder_table(report)


def test_overlap() -> None:
    assert bench_decoder.overlap(["Warm", "wool"], ["warm", "soft"]) == pytest.approx(1 / 3)
    assert bench_decoder.overlap([], []) == 1
