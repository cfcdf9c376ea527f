"""Any sentence-transformers model: tiny folders made here, read back and compared with the definition by hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from webrec.errors import BackboneError, ConfigurationError
from webrec.models.sentence_encoder import get_sentence_encoder

from .mp_head.fake_hub import fake_hub

WORDS = ["soap", "cream", "mild", "warm", "scarf", "wool", "garden", "hose", "the", "is", "a", "of", "red", "boots"]
TEXTS = ["soap is mild", "the warm wool scarf of the garden", "", "Red boots " * 9, "hose"]

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Writes a model of two layers, width 16, window of 12 tokens, with the given pooling, dense layer and extra files."""

    def write(
        pooling: dict[str, Any] | None = None,
        *,
        dense: str | None = None,
        tokens: int | None = 12,
        lower: bool = False,
        side: str = "right",
        subfolder: str = "",
        prompt: str | None = None,
        modules: list[str] | None = None,
    ) -> Path:
        import torch
        from safetensors.torch import save_file
        from tokenizers import Tokenizer, models, pre_tokenizers, processors
        from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

        vocabulary = {token: n for n, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
        fast = PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
        )
        fast.padding_side = side
        fast.save_pretrained(tmp_path / subfolder)
        shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = BertModel(
                BertConfig(vocab_size=len(vocabulary), max_position_embeddings=40, initializer_range=0.5, **shape)
            )
            layer = torch.nn.Linear(16, 6)
        model.save_pretrained(tmp_path / subfolder)
        if tokens or lower:
            settings = {"max_seq_length": tokens, "do_lower_case": lower}
            (tmp_path / subfolder / "sentence_bert_config.json").write_text(json.dumps(settings))
        kinds = modules or ["Transformer", "Pooling", *(["Dense"] if dense else []), "Normalize"]
        steps = []
        for n, kind in enumerate(kinds):
            path = subfolder if n == 0 else f"{n}_{kind}"
            steps.append({"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"})
            (tmp_path / path).mkdir(exist_ok=True)
        (tmp_path / "modules.json").write_text(json.dumps(steps))
        (tmp_path / "1_Pooling").mkdir(exist_ok=True)
        said = pooling or {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
        (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 16, **said}))
        if dense:
            config = {"in_features": 16, "out_features": 6, "bias": True, "activation_function": dense}
            (tmp_path / "2_Dense" / "config.json").write_text(json.dumps(config))
            weights = {"linear.weight": layer.weight.detach(), "linear.bias": layer.bias.detach()}
            save_file(weights, tmp_path / "2_Dense" / "model.safetensors")
        if prompt is not None:
            prompts = {"prompts": {"text": prompt, "other": "soap"}, "default_prompt_name": "text"}
            (tmp_path / "config_sentence_transformers.json").write_text(json.dumps(prompts))
        return tmp_path

    return write


def by_hand(folder: Path, text: str, pool: Callable[[Any], Any], tokens: int, finish: Callable[[Any], Any]) -> Any:
    """One text, no padding, token ids looked up in the list of words."""
    import torch
    from transformers import BertModel

    known = {word: n + 4 for n, word in enumerate(WORDS)}
    ids = [2, *[known.get(word, 1) for word in text.split()][: tokens - 2], 3]
    with torch.inference_mode():
        hidden = BertModel.from_pretrained(folder)(torch.tensor([ids])).last_hidden_state[0]
        vector = finish(pool(hidden))
    return (vector / vector.norm()).numpy()


POOLINGS: list[tuple[dict[str, Any], Callable[[Any], Any]]] = [
    ({"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": False}, lambda hidden: hidden.mean(0)),
    ({"pooling_mode_cls_token": True}, lambda hidden: hidden[0]),
    ({"pooling_mode_max_tokens": True}, lambda hidden: hidden.amax(0)),
    ({"pooling_mode_lasttoken": True}, lambda hidden: hidden[-1]),
    ({"pooling_mode": "mean"}, lambda hidden: hidden.mean(0)),
    ({"pooling_mode": ["cls"]}, lambda hidden: hidden[0]),
]


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize(("pooling", "pool"), POOLINGS)
def test_poolings_whichever_side_is_padded(
    make: Make, pooling: dict[str, Any], pool: Callable[[Any], Any], side: str
) -> None:
    folder = make(pooling, side=side)
    vectors = get_sentence_encoder(str(folder)).encode(TEXTS)
    assert (vectors.shape, vectors.dtype) == ((len(TEXTS), 16), np.float32)
    # BERT counts positions from the padding on, so with padding on the left only a text without any can be compared.
    texts = {3: TEXTS[3]} if side == "left" else dict(enumerate(TEXTS))
    for n, text in texts.items():
        assert vectors[n] == pytest.approx(by_hand(folder, text, pool, 12, lambda v: v), abs=1e-5)


def test_a_dense_layer_and_a_subfolder(make: Make) -> None:
    import torch
    from safetensors.torch import load_file

    folder = make(dense="torch.nn.modules.activation.Tanh", subfolder="0_Transformer")
    encoder = get_sentence_encoder(str(folder))
    weights = load_file(folder / "2_Dense" / "model.safetensors")

    def finish(vector: Any) -> Any:
        return torch.tanh(weights["linear.weight"] @ vector + weights["linear.bias"])

    vectors = encoder.encode(TEXTS)
    assert encoder.encode([]).shape == (0, 6)
    for n, text in enumerate(TEXTS):
        expected = by_hand(folder / "0_Transformer", text, lambda hidden: hidden.mean(0), 12, finish)
        assert vectors[n] == pytest.approx(expected, abs=1e-5)


def test_window_case_and_prompt(make: Make) -> None:
    folder = make(tokens=None, lower=True, prompt="the ")
    vector = get_sentence_encoder(str(folder)).encode(["SOAP Mild " * 30])[0]
    text = "the " + "soap mild " * 30
    assert vector == pytest.approx(by_hand(folder, text, lambda hidden: hidden.mean(0), 40, lambda v: v), abs=1e-5)


def test_only_the_default_prompt_is_used(make: Make) -> None:
    folder = make(prompt="soap ")
    plain = json.loads((folder / "config_sentence_transformers.json").read_text())
    (folder / "config_sentence_transformers.json").write_text(json.dumps(plain | {"default_prompt_name": None}))
    vector = get_sentence_encoder(str(folder)).encode(["mild"])[0]
    assert vector == pytest.approx(by_hand(folder, "mild", lambda hidden: hidden.mean(0), 12, lambda v: v), abs=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pooling": {"pooling_mode": "weightedmean"}}, "pools by weightedmean"),
        ({"pooling": {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}}, "pools by mean and cls"),
        ({"pooling": {"pooling_mode_mean_tokens": False}}, "pools by nothing"),
        ({"pooling": {"pooling_mode": "mean", "include_prompt": False}, "prompt": "the "}, "leaves its prompt out"),
        ({"dense": "torch.nn.Softshrink"}, "uses Softshrink"),
        ({"modules": ["WordEmbeddings", "Pooling"]}, "made of WordEmbeddings, Pooling"),
        ({"modules": ["Transformer", "Pooling", "CNN"]}, "made of Transformer, Pooling, CNN"),
    ],
)
def test_what_is_not_supported_is_refused(make: Make, settings: dict[str, Any], message: str) -> None:
    folder = make(**settings)
    with pytest.raises(ConfigurationError, match=f"^rerank_model: .*{message}"):
        get_sentence_encoder(str(folder))


def test_other_folders_are_refused(make: Make, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigurationError, match=r"no readable modules\.json"):
        get_sentence_encoder(str(tmp_path / "empty"))
    folder = make()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(BackboneError, match="could not be loaded"):
        get_sentence_encoder(str(folder))
    (folder / "modules.json").write_text("[]")
    with pytest.raises(ConfigurationError, match="lists no steps"):
        get_sentence_encoder(str(folder))


def test_weights_that_are_missing_are_not_made_up(make: Make) -> None:
    from safetensors.torch import load_file, save_file

    folder = make()
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BackboneError, match=r"lacks weights \(encoder\.layer\.1"):
        get_sentence_encoder(str(folder))


PROGRAM = """
import sys
from webrec.errors import ConfigurationError
from webrec.models.sentence_encoder import get_sentence_encoder

fetched, local = get_sentence_encoder("reader/adapter"), get_sentence_encoder(sys.argv[1])
assert (fetched.encode(["soap is mild"]) == local.encode(["soap is mild"])).all()
try:
    get_sentence_encoder("reader/other")
except ConfigurationError as error:
    print(error)
"""


@pytest.mark.slow
def test_a_model_of_a_hub(make: Make, tmp_path_factory: pytest.TempPathFactory) -> None:
    """In a process of its own: the hub's client reads its address when it is imported."""
    folder = make(dense="torch.nn.modules.activation.Tanh")
    with fake_hub() as (address, hub):
        files = {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()}
        hub.files |= files | {"pytorch_model.bin": b"a pickle", "custom.py": b"exit()", "onnx/model.json": b"{}"}
        settings = {
            "HF_ENDPOINT": address,
            "HF_HOME": str(tmp_path_factory.mktemp("hub")),
            "NO_PROXY": "127.0.0.1",
            "HF_HUB_DISABLE_XET": "1",
        }
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(folder)], env=os.environ | settings, capture_output=True, text=True
        )
    assert done.returncode == 0, done.stderr
    assert "neither a folder nor a reachable hub id" in done.stdout
    assert not [request for request in hub.asked if request.endswith((".bin", ".py", "onnx/model.json"))]
