"""Adapters on disk: saved and loaded again, of earlier formats, damaged, and of kinds that are never opened."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from webrec.errors import ConfigurationError
from webrec.models.mp_head.config import MPHeadConfig
from webrec.models.mp_head.model import MPHead

from .attached import HEADS, TUNINGS, attach, load, tokens, tuned
from .make_saved import SAVED

FOLDERS = sorted(SAVED.iterdir())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good adapter, to be damaged."""
    return Path(shutil.copytree(SAVED / "format_1_literal", tmp_path / "adapter"))


def change(folder: Path, **changes: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def refused(folder: Path | str, message: str) -> str:
    with pytest.raises(ConfigurationError, match=message) as caught:
        MPHead.from_pretrained(folder)
    told = str(caught.value)
    assert told.startswith("adapter: ")
    assert "\n" not in told
    return told


@pytest.mark.parametrize("saved", FOLDERS, ids=lambda saved: saved.name)
def test_adapters_saved_by_earlier_versions(saved: Path) -> None:
    """The outputs beside them were computed from the equations when they were saved."""
    expected = json.loads((saved / "expected.json").read_text())
    query, key, value = (torch.tensor([expected["inputs"][name]]) for name in ("query", "key", "value"))
    mask = torch.tensor([expected["node_mask"]])
    head = MPHead.from_pretrained(saved)
    assert set(head.layers) == set(expected["layers"])
    assert not head.training
    for name, layer in head.layers.items():
        with torch.no_grad():
            output = layer.read(query, layer.nodes(key, value, mask))[0]
            if layer.relevance is not None:
                index, kept = layer.keep(layer.cosine(layer.entities(key, value)), mask)
                assert sorted(index[kept].tolist()) == expected["layers"][name]["kept"]
        torch.testing.assert_close(output, torch.tensor(expected["layers"][name]["output"]), rtol=1e-4, atol=1e-5)


def test_there_is_one_of_each_kind() -> None:
    assert [saved.name for saved in FOLDERS] == ["format_1_linear", "format_1_literal", "format_1_pairwise"]


@pytest.mark.parametrize("saved", FOLDERS, ids=lambda saved: saved.name)
def test_saved_again_nothing_has_changed(saved: Path, tmp_path: Path) -> None:
    MPHead.from_pretrained(saved).save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    before, after = (load_file(place / "adapter_model.safetensors") for place in (saved, tmp_path))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    before, after = (json.loads((place / "adapter_config.json").read_text()) for place in (saved, tmp_path))
    # Settings that came later have the value that changes nothing.
    assert MPHeadConfig.model_validate(before["head"]).model_dump(mode="json") == after["head"]
    assert before["shape"] == after["shape"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tuning", TUNINGS)
@pytest.mark.parametrize("head", HEADS)
def test_saved_in_training_loaded_and_attached(
    tiny_llama: Path, tmp_path: Path, head: str, tuning: str, dtype: torch.dtype
) -> None:
    attached = attach(load(tiny_llama, dtype), tuning, **HEADS[head])
    attached.model.train()
    attached.head.save_pretrained(tmp_path)
    attached.model.eval()
    ids = tokens(attached.llama, 2, 9)
    expected = attached.logits(ids)
    other = tuned(load(tiny_llama, dtype), tuning)
    MPHead.from_pretrained(tmp_path).attach(other)
    with torch.no_grad():
        assert torch.equal(other(input_ids=ids).logits[:, -9:], expected)
    assert all(tensor.dtype == torch.float32 for tensor in load_file(tmp_path / "adapter_model.safetensors").values())


def test_the_task_feature_outlives_the_lora(tiny_llama: Path, tmp_path: Path) -> None:
    """A head on a model into which its LoRA was merged: z comes from the file."""
    attached = attach(load(tiny_llama), **HEADS["literal"])
    attached.head.float().save_pretrained(tmp_path)
    ids = tokens(attached.llama, 1, 9)
    expected = attached.logits(ids)
    attached.head.detach()
    merged = attached.model.merge_and_unload().eval()
    head = MPHead.from_pretrained(tmp_path).attach(merged)
    assert head.task.z.any()
    with torch.no_grad():
        torch.testing.assert_close(merged(ids).logits, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("version", [0, 2, "1", None, [1]])
def test_another_format_version(folder: Path, version: object) -> None:
    change(folder, format_version=version)
    refused(folder, "format version .* reads 1; update WebRec")


def test_unknown_kinds_and_settings(folder: Path) -> None:
    head = json.loads((folder / "adapter_config.json").read_text())["head"]
    for wrong in ({"kind": "quadratic"}, {"novel": 1}, {"hops": 0}, {"layers": []}, {"layers": "x"}):
        change(folder, head=head | wrong)
        refused(folder, "not valid")
    for nothing in (None, [], "literal"):
        change(folder, head=nothing)
        refused(folder, "not valid")
    change(folder, head=head, shape={"hidden": 8})
    refused(folder, "not valid")


def test_other_adapters(folder: Path) -> None:
    change(folder, adapter_type="lora")
    refused(folder, "no message-passing head")
    (folder / "adapter_config.json").write_text("[]")
    refused(folder, "not a JSON object")
    (folder / "adapter_config.json").write_bytes(b"\xff\xfe{")
    refused(folder, "not JSON")
    (folder / "adapter_config.json").unlink()
    refused(folder, "has no adapter_config.json")


def test_missing_additional_and_misshapen_tensors(folder: Path) -> None:
    weights = folder / "adapter_model.safetensors"
    tensors = load_file(weights)
    for name in ("layers.3.output.weight", "task.z"):
        save_file({key: value for key, value in tensors.items() if key != name}, weights)
        assert name in refused(folder, "tensors of .* do not fit")
    save_file(tensors | {"layers.1.gate": torch.zeros(())}, weights)
    assert "layers.1.gate" in refused(folder, "do not fit")
    save_file(tensors | {"layers.0.entity.bias": torch.zeros(9)}, weights)
    assert "layers.0.entity.bias" in refused(folder, "do not fit")


def test_a_damaged_file(folder: Path) -> None:
    weights = folder / "adapter_model.safetensors"
    whole = weights.read_bytes()
    for damaged in (b"", whole[:100], whole[:-10], b"\xff" * 64):
        weights.write_bytes(damaged)
        refused(folder, "cannot be read")


class Trap:
    """Its pickle, when opened, makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_is_never_opened(folder: Path, tmp_path: Path) -> None:
    weights, sprung = folder / "adapter_model.safetensors", tmp_path / "sprung"
    trap = pickle.dumps(Trap(sprung))
    weights.unlink()
    for name in ("adapter_model.bin", "adapter_model.pt", "pytorch_model.bin"):
        (folder / name).write_bytes(trap)
    refused(folder, "only safetensors")
    weights.write_bytes(trap)  # under the right name
    refused(folder, "only safetensors")
    assert not sprung.exists()


def test_nothing_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    refused(tmp_path, "has no adapter_config.json")
    refused(tmp_path / "missing", "neither a folder nor")
