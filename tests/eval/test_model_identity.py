"""Other weights are another model, wherever they lie; the same weights elsewhere are the same."""

from __future__ import annotations

import shutil
from pathlib import Path

from webrec.eval.model_identity import adapter_identity, backbone_identity
from webrec.models.config import BackboneConfig


def test_a_backbone_is_its_files(tiny_bytes: Path, tmp_path: Path) -> None:
    copy = tmp_path / tiny_bytes.name
    shutil.copytree(tiny_bytes, copy)
    assert backbone_identity(BackboneConfig(backbone=str(copy))) == backbone_identity(
        BackboneConfig(backbone=str(tiny_bytes))
    )
    (copy / "config.json").write_text((copy / "config.json").read_text() + "\n")
    assert backbone_identity(BackboneConfig(backbone=str(copy))) != backbone_identity(
        BackboneConfig(backbone=str(tiny_bytes))
    )
    weights = next(copy.glob("*.safetensors"))
    before, whole = backbone_identity(BackboneConfig(backbone=str(copy))), bytearray(weights.read_bytes())
    whole[-1] ^= 1  # the last weight of the last tensor
    weights.write_bytes(whole)
    assert backbone_identity(BackboneConfig(backbone=str(copy))) != before
    for name in ("chat_template.jinja", "tokenizer_config.json", "tokenizer.json"):
        before = backbone_identity(BackboneConfig(backbone=str(copy)))
        (copy / name).write_text((copy / name).read_text() + " " if (copy / name).exists() else "{{ messages }}")
        assert backbone_identity(BackboneConfig(backbone=str(copy))) != before, name
    assert backbone_identity(BackboneConfig(backbone="a/b", revision="v1")) == "a/b at v1"


def test_an_adapter_is_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    (folder / "head").mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}")
    (folder / "head" / "weights.safetensors").write_bytes(b"1")
    first = adapter_identity(BackboneConfig(adapter=str(folder)))
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert adapter_identity(BackboneConfig(adapter=str(tmp_path / "elsewhere"))) == first
    (folder / "README.md").write_text("told")
    assert adapter_identity(BackboneConfig(adapter=str(folder))) == first
    (folder / "head" / "weights.safetensors").write_bytes(b"2")
    assert adapter_identity(BackboneConfig(adapter=str(folder))) != first
    assert adapter_identity(BackboneConfig(adapter="x/y", adapter_revision="main")) == "x/y at main"
    assert adapter_identity(BackboneConfig()) is None
