"""Adapters: made, saved, loaded, and scored with; packed scoring equals one plain pass per candidate."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from webrec.errors import ConfigurationError
from webrec.models.adapter import AdaptedLlama
from webrec.models.backbone import Backbone, get_backbone, sharing_weights
from webrec.models.config import BackboneConfig, LoraTuning, SoftPromptTuning
from webrec.models.mp_head.config import MPHeadConfig
from webrec.models.mp_head.model import set_gates
from webrec.models.scoring import score_candidates

TITLES = ["Soap", "Green tea", "Hand cream, fragrance-free, 50 ml", "保湿クリーム", "Öl-in-Wasser-Emulsion", "!"]
TUNINGS = {"lora": LoraTuning(), "soft_prompt": SoftPromptTuning(kind="soft_prompt", tokens=4)}
HEADS = {
    "none": None,
    "literal": MPHeadConfig(layers=(1,), top_k=8),
    "linear": MPHeadConfig(kind="linear", layers=(0, 1), top_k=None),
    "pairwise": MPHeadConfig(kind="pairwise", layers=(1,), hops=2, top_k=8, rotary=True),
}


def trained_alike(backbone: Backbone, tuning: str, head: str) -> AdaptedLlama:
    """An adapter on the weights of `backbone` whose every part has an effect: gate open, LoRA's B not zero."""
    adapted = AdaptedLlama.new(sharing_weights(backbone.model), TUNINGS[tuning], HEADS[head], seed=1)
    torch.manual_seed(2)
    for name, parameter in adapted.trained().items():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    if adapted.head is not None:
        set_gates(adapted.head, 1.5)
    return adapted.eval()


def with_adapter(backbone: Backbone, folder: Path) -> Backbone:
    return get_backbone(BackboneConfig(backbone=backbone.name, dtype="float32", adapter=str(folder)))


@pytest.mark.parametrize("tuning", TUNINGS)
@pytest.mark.parametrize("head", HEADS)
def test_saved_loaded_and_packed_equals_one_by_one(backbone: Backbone, tmp_path: Path, tuning: str, head: str) -> None:
    adapted = trained_alike(backbone, tuning, head)
    adapted.save_pretrained(tmp_path)
    scorer = with_adapter(backbone, tmp_path)
    prompt = scorer.chat.encode_turn("Please recommend the next item for this user to buy")
    candidates = [scorer.chat.encode_answer(title) for title in TITLES]
    expected = []
    for candidate in candidates:
        ids = torch.tensor([prompt + candidate])
        prompt_only = {} if head == "none" else {"node_mask": torch.arange(ids.shape[1])[None] < len(prompt)}
        with torch.inference_mode():  # PEFT's own forward, prompt and answer in one pass
            log_p = adapted.peft(input_ids=ids, **prompt_only).logits[0].log_softmax(-1)
        first = log_p.shape[0] - len(candidate) - 1
        expected.append(sum(float(log_p[first + n, token]) for n, token in enumerate(candidate)))
    plain = [c.total for c in score_candidates(backbone, prompt, candidates)]
    assert max(abs(e - p) for e, p in zip(expected, plain, strict=True)) > 0.1  # the adapter does something
    for pack_tokens in (1, 7, 512):
        scored = score_candidates(scorer, prompt, candidates, pack_tokens=pack_tokens)
        assert [c.total for c in scored] == pytest.approx(expected, abs=1e-4, rel=1e-5)


def test_weights_are_shared_and_the_plain_backbone_is_untouched(backbone: Backbone, tmp_path: Path) -> None:
    ids = torch.arange(5, 25)[None]
    before = backbone.model(ids).logits
    trained_alike(backbone, "lora", "literal").save_pretrained(tmp_path)
    scorer = with_adapter(backbone, tmp_path)
    assert torch.equal(backbone.model(ids).logits, before)
    assert not torch.allclose(scorer.model(ids).logits, before)
    own = {p.data_ptr() for p in backbone.model.parameters()}
    shared = own & {p.data_ptr() for p in scorer.model.parameters()}
    assert shared == own
    assert not any(p.requires_grad for p in scorer.model.parameters())
    assert not hasattr(backbone.model.model.layers[1].self_attn, "mp_head")


def test_a_new_lora_with_head_changes_nothing_and_only_its_tensors_train(backbone: Backbone) -> None:
    ids = torch.arange(5, 25)[None]
    adapted = AdaptedLlama.new(sharing_weights(backbone.model), LoraTuning(), HEADS["literal"]).eval()
    assert torch.equal(adapted.llama(ids).logits, backbone.model(ids).logits)
    trained = adapted.trained()
    assert {name.split(".")[0] for name in trained} == {"head", "peft"}
    assert all(p.dtype == torch.float32 for p in trained.values())
    assert {id(p) for p in adapted.parameters() if p.requires_grad} == {id(p) for p in trained.values()}
    assert [name for name in trained if name.endswith(".gate")] == ["head.layers.1.gate"]


def test_the_seed_decides_the_weights(backbone: Backbone) -> None:
    def weights(seed: int) -> torch.Tensor:
        made = AdaptedLlama.new(sharing_weights(backbone.model), LoraTuning(), HEADS["pairwise"], seed=seed)
        return torch.cat([p.detach().flatten() for p in made.trained().values()])

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))


def test_bfloat16_backbone_trains_float32(tiny_llama: Path) -> None:
    half = get_backbone(BackboneConfig(backbone=str(tiny_llama), dtype="bfloat16"))
    for tuning in TUNINGS.values():
        adapted = AdaptedLlama.new(sharing_weights(half.model), tuning, HEADS["pairwise"])
        assert {p.dtype for p in adapted.trained().values()} == {torch.float32}
        assert adapted.llama.dtype == torch.bfloat16


def test_soft_prompt_takes_room(backbone: Backbone, tmp_path: Path) -> None:
    trained_alike(backbone, "soft_prompt", "none").save_pretrained(tmp_path)
    assert with_adapter(backbone, tmp_path).context_length == backbone.context_length - 4


def test_described(backbone: Backbone) -> None:
    adapted = trained_alike(backbone, "lora", "pairwise")
    assert adapted.describe() == "pairwise (layer 1, 2 hops, top 8)"
    assert adapted.describe_tuning() == "LoRA (rank 8: q_proj, v_proj)"
    plain = trained_alike(backbone, "soft_prompt", "none")
    assert (plain.describe(), plain.describe_tuning()) == ("none", "soft prompt (4 tokens)")


def test_no_path_of_this_machine_is_saved(backbone: Backbone, tmp_path: Path) -> None:
    trained_alike(backbone, "lora", "literal").save_pretrained(tmp_path)
    files = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert files == [f"{d}adapter_{f}" for d in ("", "peft/") for f in ("config.json", "model.safetensors")]
    assert backbone.name not in (tmp_path / "peft" / "adapter_config.json").read_text()


def test_wrong_targets_and_layers(backbone: Backbone) -> None:
    with pytest.raises(ConfigurationError, match="targets: "):
        AdaptedLlama.new(sharing_weights(backbone.model), LoraTuning(targets=("nothing",)), None)
    with pytest.raises(ConfigurationError, match=r"targets: .*add one of"):
        AdaptedLlama.new(sharing_weights(backbone.model), LoraTuning(targets=("down_proj",)), HEADS["literal"])
    with pytest.raises(ConfigurationError, match="layers: 17 is outside the backbone"):
        AdaptedLlama.new(sharing_weights(backbone.model), LoraTuning(), MPHeadConfig(layers=(17,)))


def test_what_is_no_adapter(backbone: Backbone, tmp_path: Path) -> None:
    def refused(folder: Path, message: str) -> None:
        with pytest.raises(ConfigurationError, match=message):
            with_adapter(backbone, folder)

    refused(tmp_path, "adapter: .*has no adapter_config.json")
    (tmp_path / "adapter_config.json").write_text("{")
    refused(tmp_path, "adapter: .*is not JSON")
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "IA3"}')
    refused(tmp_path, "adapter: .*'IA3'")
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    (tmp_path / "adapter_model.bin").write_bytes(b"a pickle")
    refused(tmp_path, "only safetensors are loaded")
    (tmp_path / "adapter_model.safetensors").write_bytes(b"broken")
    refused(tmp_path, "adapter: ")


@pytest.mark.parametrize(("head", "message"), [("literal", "head: it was made for"), ("none", "does not fit this")])
def test_an_adapter_of_another_backbone(
    tiny_bytes: Path, tiny_sentencepiece: Path, tmp_path: Path, head: str, message: str
) -> None:
    of, on = (get_backbone(BackboneConfig(backbone=str(p), dtype="float32")) for p in (tiny_sentencepiece, tiny_bytes))
    trained_alike(of, "lora", head).save_pretrained(tmp_path)
    with pytest.raises(ConfigurationError, match=message):
        with_adapter(on, tmp_path)


@pytest.mark.parametrize("damage", ["missing", "more", "shape"])
@pytest.mark.parametrize(("tuning", "head"), [("lora", "none"), ("lora", "literal"), ("soft_prompt", "none")])
def test_an_adapter_that_lacks_a_tensor_is_refused_not_made_up(
    backbone: Backbone, tmp_path: Path, tuning: str, head: str, damage: str
) -> None:
    trained_alike(backbone, tuning, head).save_pretrained(tmp_path)
    file = tmp_path / ("" if head == "none" else "peft") / "adapter_model.safetensors"
    tensors = load_file(file)
    name = sorted(tensors)[-1]
    if damage == "more":
        tensors[name.replace("layers.1", "layers.7") + ".more"] = tensors[name].clone()
    elif damage == "shape":
        tensors[name] = tensors[name][1:]
    else:
        del tensors[name]
    save_file(tensors or {"other": torch.zeros(1)}, file, metadata={"format": "pt"})
    with pytest.raises(ConfigurationError, match=r"adapter: .*does not fit this backbone or is damaged"):
        with_adapter(backbone, tmp_path)


def test_a_head_without_what_was_trained_with_it_is_refused(backbone: Backbone, tmp_path: Path) -> None:
    trained_alike(backbone, "lora", "literal").save_pretrained(tmp_path)
    shutil.rmtree(tmp_path / "peft")
    with pytest.raises(ConfigurationError, match=r"adapter: .* lacks its folder peft"):
        with_adapter(backbone, tmp_path)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"revision": "v1"}, "revision: .* is a folder, which has no revisions"),
        (
            {"backbone": "smollm2-135m-instruct", "revision": "v1"},
            "revision: .* comes from PyPI, which has no revisions",
        ),
        ({"adapter_revision": "v1"}, "adapter_revision: there is no adapter"),
        ({"adapter": "FOLDER", "adapter_revision": "v1"}, "adapter_revision: .* is a folder, which has no revisions"),
    ],
)
def test_a_revision_of_what_has_none_is_refused(
    backbone: Backbone, tmp_path: Path, settings: dict[str, str], says: str
) -> None:
    if "adapter" in settings:
        trained_alike(backbone, "lora", "none").save_pretrained(tmp_path)
        settings = settings | {"adapter": str(tmp_path)}
    with pytest.raises(ConfigurationError, match=f"^{says}"):
        get_backbone(BackboneConfig(**{"backbone": backbone.name, "dtype": "float32", **settings}))  # type: ignore[arg-type]


def test_loading_asks_no_hub_for_the_model_that_an_adapter_names(
    backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*names: str) -> bool:
        raise AssertionError(names)

    trained_alike(backbone, "lora", "none").save_pretrained(tmp_path)
    described = json.loads((tmp_path / "adapter_config.json").read_text())
    other = {**described, "base_model_name_or_path": "someorg/some-llama"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(other))
    monkeypatch.setattr("peft.utils.save_and_load.check_file_exists_on_hf_hub", asked)
    with_adapter(backbone, tmp_path)
