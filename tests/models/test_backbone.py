"""Loading: what is refused and how, what is shared, and what importing costs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch
import transformers
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from webrec.errors import BackboneError, ConfigurationError
from webrec.models import backbone as module
from webrec.models.backbone import Backbone, get_backbone, number_format
from webrec.models.config import BackboneConfig
from webrec.models.int8 import is_exact


@pytest.fixture
def copied(tiny_bytes: Path, tmp_path: Path) -> Path:
    """A copy of a tiny LLaMA to damage."""
    return Path(shutil.copytree(tiny_bytes, tmp_path / "model"))


def test_what_is_loaded(tiny_llama: Path) -> None:
    backbone = get_backbone(BackboneConfig(backbone=str(tiny_llama), dtype="float32"))
    assert (backbone.dtype, backbone.device.type, backbone.context_length) == ("float32", "cpu", 8192)
    assert (backbone.name, backbone.source) == (str(tiny_llama), "local folder")
    assert not backbone.model.training
    assert not any(p.requires_grad for p in backbone.model.parameters())


def test_the_same_settings_give_the_same_object(
    copied: Path, tiny_bytes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[BackboneConfig] = []

    def counted(config: BackboneConfig) -> Backbone:
        loads.append(config)
        return load(config)

    load = module._load
    monkeypatch.setattr(module, "_load", counted)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(get_backbone, [BackboneConfig(backbone=str(copied)) for _ in range(8)]))
    assert len({id(b) for b in found}) == len(loads) == 1
    assert get_backbone(BackboneConfig(backbone=str(copied))) is found[0]
    assert get_backbone(BackboneConfig(backbone=str(copied), dtype="float16")) is not found[0]
    assert get_backbone(BackboneConfig(backbone=str(tiny_bytes))) is not found[0]


def test_a_failed_load_is_tried_again(tmp_path: Path, tiny_bytes: Path) -> None:
    config = BackboneConfig(backbone=str(tmp_path / "later"))
    with pytest.raises(ConfigurationError):
        get_backbone(config)
    shutil.copytree(tiny_bytes, tmp_path / "later")
    assert get_backbone(config).context_length == 8192


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    transformers.GPT2Config(n_layer=1, n_embd=8, n_head=1).save_pretrained(tmp_path)
    with pytest.raises(ConfigurationError, match=r"^backbone: .* is a 'gpt2' model, not a LLaMA; give one whose"):
        get_backbone(BackboneConfig(backbone=str(tmp_path)))


@pytest.mark.parametrize("name", ["nobody/no-such-model", "/no/such/folder", "../x", "no such name"])
def test_what_is_not_there_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigurationError, match=r"^backbone: .* neither a folder with a model nor a reachable hub id"):
        get_backbone(BackboneConfig(backbone=name))


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="give a local folder"):
        get_backbone(BackboneConfig(backbone=str(tmp_path)))
    (tmp_path / "config.json").write_text("{ not json")
    with pytest.raises(ConfigurationError, match="give a local folder"):
        get_backbone(BackboneConfig(backbone=str(tmp_path)))


def test_missing_weights_are_refused(copied: Path) -> None:
    (copied / "model.safetensors").unlink()
    with pytest.raises(BackboneError, match="could not be loaded"):
        get_backbone(BackboneConfig(backbone=str(copied)))


def test_truncated_weights_are_refused(copied: Path) -> None:
    weights = copied / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(BackboneError, match="could not be loaded"):
        get_backbone(BackboneConfig(backbone=str(copied)))


def test_a_missing_tensor_is_refused_not_made_up(copied: Path) -> None:
    tensors = load_file(copied / "model.safetensors")
    del tensors["model.layers.1.self_attn.q_proj.weight"]
    save_file(tensors, copied / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BackboneError, match=r"model\.layers\.1\.self_attn\.q_proj\.weight"):
        get_backbone(BackboneConfig(backbone=str(copied)))


def test_weights_of_another_shape_are_refused(copied: Path) -> None:
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps(config | {"intermediate_size": 96}))
    with pytest.raises(BackboneError, match="could not be loaded"):
        get_backbone(BackboneConfig(backbone=str(copied)))


def test_pickled_weights_are_not_read(copied: Path) -> None:
    torch.save(load_file(copied / "model.safetensors"), copied / "pytorch_model.bin")
    (copied / "model.safetensors").unlink()
    with pytest.raises(BackboneError):
        get_backbone(BackboneConfig(backbone=str(copied)))


def test_a_missing_tokenizer_is_refused(copied: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (copied / name).unlink()
    with pytest.raises((BackboneError, ConfigurationError), match=r"^backbone:"):
        get_backbone(BackboneConfig(backbone=str(copied)))


@pytest.mark.parametrize("native", [False, True])
def test_auto_is_bfloat16_only_where_the_cpu_has_it(
    tmp_path: Path, tiny_bytes: Path, native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    folder = shutil.copytree(tiny_bytes, tmp_path / "model")
    backbone = get_backbone(BackboneConfig(backbone=str(folder)))
    assert backbone.dtype == ("bfloat16" if native else "float32")
    assert number_format(BackboneConfig()) == f"{backbone.dtype} on cpu"
    assert number_format(BackboneConfig(dtype="float16")) == "float16 on cpu"
    if is_exact():
        assert number_format(BackboneConfig(dtype="int8")) == "int8 on cpu"


@pytest.mark.parametrize("device", ["abacus", "cpu:x", "cuda:99", ""])
def test_an_unknown_device_is_refused(device: str, tiny_bytes: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^device: .* use auto or cpu"):
        get_backbone(BackboneConfig(backbone=str(tiny_bytes), device=device))


@pytest.mark.parametrize("wrong", [{"backbone": ""}, {"dtype": "int4"}, {"devise": "cpu"}])
def test_wrong_settings_are_refused(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        BackboneConfig(**wrong)


def test_progress_bars_stay_off_and_the_hosts_choice_stays(copied: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shown = transformers.utils.logging.is_progress_bar_enabled()
    get_backbone(BackboneConfig(backbone=str(copied)))
    assert transformers.utils.logging.is_progress_bar_enabled() == shown
    assert capfd.readouterr() == ("", "")


def test_importing_the_layer_does_not_import_torch() -> None:
    code = """
import importlib, pkgutil, sys
import webrec.models
names = [m.name for m in pkgutil.iter_modules(webrec.models.__path__, "webrec.models.")]
names += ["webrec.models.mp_head.config"]
for made_of_torch in ("adapter", "blocked_attention", "few_rows", "few_rows_norm", "int4", "int8", "int8_few_rows", "int8_in_float", "onednn_linear", "pass_layer"):  # whoever loads these has torch
    names.remove(f"webrec.models.{made_of_torch}")
assert len(names) >= 12, names
for name in names:
    importlib.import_module(name)
print({"torch", "transformers", "tokenizers", "numpy"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
