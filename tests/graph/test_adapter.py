"""A run with an adapter: it scores, the plain backbone reasons, and the output says which head it was."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from webrec import ConfigurationError, Recommendation, recommend
from webrec.cli.main import main
from webrec.models.adapter import AdaptedLlama
from webrec.models.backbone import get_backbone, sharing_weights
from webrec.models.config import BackboneConfig, LoraTuning, SoftPromptTuning
from webrec.models.mp_head.config import MPHeadConfig
from webrec.models.mp_head.model import set_gates

HISTORY = ["Red boots", "Warm gloves"]
CANDIDATES = ["Wool scarf", "Garden hose", "Blue jacket", "Soap"]


@pytest.fixture(scope="module", params=["lora", "soft_prompt"])
def adapter(request: pytest.FixtureRequest, tiny_bytes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved adapter whose every part changes the scores."""
    folder: Path = tmp_path_factory.mktemp("adapter")
    tuning = LoraTuning() if request.param == "lora" else SoftPromptTuning(kind="soft_prompt", tokens=5)
    plain = get_backbone(BackboneConfig(backbone=str(tiny_bytes), dtype="float32"))
    adapted = AdaptedLlama.new(sharing_weights(plain.model), tuning, MPHeadConfig(layers=(1,), top_k=16))
    assert adapted.head is not None
    set_gates(adapted.head, 2.0)
    for name, parameter in adapted.trained().items():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    adapted.save_pretrained(folder)
    return folder


def run(tiny_bytes: Path, **settings: Any) -> Recommendation:
    defaults: dict[str, Any] = {"dtype": "float32", "reasoning_tokens": 16, "providers": ["sample"], "language": "xx"}
    return recommend(HISTORY, CANDIDATES, backbone=str(tiny_bytes), **{**defaults, **settings})


def test_it_scores_and_the_plain_backbone_reasons(tiny_bytes: Path, adapter: Path) -> None:
    plain, adapted = run(tiny_bytes), run(tiny_bytes, adapter=str(adapter))
    assert adapted.reasoning == plain.reasoning
    assert adapted.query == plain.query
    assert {c.title: c.mean for c in adapted.ranking} != {c.title: c.mean for c in plain.ranking}
    assert (plain.head, plain.backbone.adapter) == ("none", None)
    assert adapted.head == "literal (layer 1, 1 hop, top 16)"
    evidence = adapted.backbone.adapter
    assert evidence is not None
    assert evidence.tuning in ("LoRA (rank 8: q_proj, v_proj)", "soft prompt (5 tokens)")
    digest = hashlib.sha256()
    for file in (adapter / "adapter_model.safetensors", adapter / "peft" / "adapter_model.safetensors"):
        digest.update(file.read_bytes())
    assert evidence.sha256 == digest.hexdigest()
    assert adapted.settings["adapter"] == str(adapter)
    assert "peft" in adapted.versions
    assert "peft" not in plain.versions


def test_it_warns_if_it_is_asked_otherwise_than_in_training(tiny_bytes: Path, adapter: Path, tmp_path: Path) -> None:
    assert not (adapter / "prompt.json").exists()
    assert run(tiny_bytes, adapter=str(adapter)).warnings == []  # nothing is known of its training
    asked = {"prompt_form": "next", "score_by": "mean", "title_words": None}
    shutil.copytree(adapter, tmp_path / "adapter")
    (tmp_path / "adapter" / "prompt.json").write_text(json.dumps(asked), encoding="utf-8")
    otherwise = run(tiny_bytes, adapter=str(tmp_path / "adapter"))
    assert otherwise.warnings == ["the adapter was trained with prompt_form next; this run asks otherwise"]
    assert run(tiny_bytes, adapter=str(tmp_path / "adapter"), prompt_form="next").warnings == []
    (tmp_path / "adapter" / "prompt.json").write_text("[]", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="is not a JSON object"):
        AdaptedLlama.from_pretrained(
            sharing_weights(get_backbone(BackboneConfig(backbone=str(tiny_bytes), dtype="float32")).model),
            tmp_path / "adapter",
        )


def test_order_of_candidates_changes_nothing(tiny_bytes: Path, adapter: Path) -> None:
    settings = {"adapter": str(adapter), "retrieval": False}
    straight = run(tiny_bytes, **settings)
    turned = recommend(HISTORY, CANDIDATES[::-1], backbone=str(tiny_bytes), dtype="float32", **settings)
    assert [c.title for c in straight.ranking] == [c.title for c in turned.ranking]
    # Packed in another order a title lies in another row of the product, whose sums may round differently.
    assert [c.mean for c in turned.ranking] == pytest.approx([c.mean for c in straight.ranking], rel=1e-5)


def test_a_wrong_adapter_is_told_before_anything_is_searched(tiny_bytes: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"adapter: .* has no adapter_config\.json"):
        run(tiny_bytes, adapter=str(tmp_path), reasoning_tokens=4000)
    users = tmp_path / "user.json"
    users.write_text(json.dumps({"history": HISTORY, "candidates": CANDIDATES}))
    options = ["--backbone", str(tiny_bytes), "--adapter", str(tmp_path), "--providers", "sample"]
    done = CliRunner().invoke(main, ["recommend", str(users), *options])
    assert done.exit_code == 2
    assert "adapter: " in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_line_takes_it(tiny_bytes: Path, adapter: Path, tmp_path: Path) -> None:
    users = tmp_path / "user.json"
    users.write_text(json.dumps({"history": HISTORY, "candidates": CANDIDATES}))
    options = ["--backbone", str(tiny_bytes), "--adapter", str(adapter), "--no-retrieval", "--json"]
    done = CliRunner().invoke(main, ["recommend", str(users), *options])
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["head"].startswith("literal")
