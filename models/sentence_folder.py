"""Sentence encoders in the folder layout of sentence-transformers, read with transformers alone.

`modules.json` lists the steps: a transformer, a pooling over its tokens, perhaps dense layers, perhaps a normalisation.
Weights are safetensors; no code of the repository is run.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from webrec.errors import BackboneError, ConfigurationError
from webrec.models.quiet_loading import quiet_loading

if TYPE_CHECKING:
    import torch

PoolingMode = Literal["mean", "cls", "max", "lasttoken"]
DEFAULT_TOKENS = 512
_ACTIVATIONS = ("Identity", "Tanh", "ReLU", "GELU")
_WANTED_FILES = ["*.json", "*.txt", "*.model", "*.safetensors"]
_OTHER_RUNTIMES = ["onnx/*", "openvino/*"]


@dataclass(frozen=True)
class SentenceModel:
    """A loaded model: a `tokenizers.Tokenizer` that pads and cuts, the transformer, and what is done before and after.

    `prompt` is put before every text; with `lower`, texts are brought to small letters.
    """

    tokenizer: Any
    model: Any
    pooling: PoolingMode = "mean"
    dense: tuple[Any, ...] = ()
    prompt: str = ""
    lower: bool = False

    def pooled(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """One vector for each text, (texts, width), from states (texts, tokens, width) and mask (texts, tokens)."""
        import torch

        weight = mask[..., None].to(hidden.dtype)
        if self.pooling == "mean":
            vectors = (hidden * weight).sum(1) / weight.sum(1).clamp(min=1e-9)
        elif self.pooling == "max":
            vectors = hidden.masked_fill(weight == 0, -torch.inf).amax(1)
        else:
            places = torch.arange(mask.shape[1]).expand_as(mask)
            first = places.masked_fill(mask == 0, mask.shape[1]).argmin(1)
            last = places.masked_fill(mask == 0, -1).argmax(1)
            vectors = hidden[torch.arange(len(hidden)), first if self.pooling == "cls" else last]
        for layer in self.dense:
            vectors = layer(vectors)
        return vectors


def fetch_sentence_folder(name: str) -> Path:
    """The local folder `name`, or a download of the hub repository `name`, without code and other runtimes' files.

    Raises `ConfigurationError` if it is neither.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        with quiet_loading():
            return Path(snapshot_download(name, allow_patterns=_WANTED_FILES, ignore_patterns=_OTHER_RUNTIMES))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ConfigurationError(
            f"rerank_model: {name!r} is neither a folder nor a reachable hub id; give the folder of a sentence-transformers "
            "model, or 'minilm'"
        ) from error


def load_sentence_folder(folder: Path, name: str) -> SentenceModel:
    """The model in `folder`; `name` is what messages call it.

    Raises `ConfigurationError` for a folder that is no sentence-transformers model, or one with a step, a pooling or an
    activation that is not supported, and `BackboneError` for weights that cannot be read.
    """
    steps = _read(folder / "modules.json", name)
    if not isinstance(steps, list) or not steps:
        raise ConfigurationError(f"rerank_model: modules.json of {name!r} lists no steps; give another model")
    kinds = [(str(step.get("type", "")).rsplit(".", 1)[-1], folder / str(step.get("path", ""))) for step in steps]
    order = [kind for kind, _ in kinds]
    if order[:2] != ["Transformer", "Pooling"] or any(kind not in {"Dense", "Normalize"} for kind in order[2:]):
        raise ConfigurationError(
            f"rerank_model: {name!r} is made of {', '.join(order)}; supported are a Transformer and a Pooling, then Dense and "
            "Normalize"
        )
    pooling_config = _read(kinds[1][1] / "config.json", name)
    prompt = _prompt(folder, name)
    if prompt and not pooling_config.get("include_prompt", True):
        raise ConfigurationError(f"rerank_model: {name!r} leaves its prompt out of the pooling, which is not supported")
    dense = tuple(_dense(path, name) for kind, path in kinds if kind == "Dense")
    own = kinds[0][1] / "sentence_bert_config.json"
    settings = _read(own, name) if own.exists() else {}
    tokenizer, model = _transformer(kinds[0][1], name, settings.get("max_seq_length"))
    return SentenceModel(
        tokenizer, model, _pooling(pooling_config, name), dense, prompt, bool(settings.get("do_lower_case"))
    )


def _read(path: Path, name: str) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"rerank_model: {name!r} has no readable {path.name}; give the folder or hub id of a sentence-transformers model"
        ) from error


def _pooling(config: dict[str, Any], name: str) -> PoolingMode:
    """The one mode, as newer versions write it (`pooling_mode`) or older ones (a switch for each)."""
    said = config.get("pooling_mode")
    modes = [said] if isinstance(said, str) else list(said or ())
    if not modes:
        short = {"cls_token": "cls", "mean_tokens": "mean", "max_tokens": "max"}
        switches = [
            key.removeprefix("pooling_mode_") for key, on in config.items() if key.startswith("pooling_mode_") and on
        ]
        modes = [short.get(switch, switch) for switch in switches]
    for mode in get_args(PoolingMode):
        if modes == [mode]:
            chosen: PoolingMode = mode
            return chosen
    raise ConfigurationError(
        f"rerank_model: {name!r} pools by {' and '.join(map(str, modes)) or 'nothing'}; supported is one of "
        f"{', '.join(get_args(PoolingMode))}"
    )


def _dense(folder: Path, name: str) -> Any:
    import torch
    from safetensors.torch import load_file

    config = _read(folder / "config.json", name)
    activation = str(config.get("activation_function", "torch.nn.modules.activation.Tanh")).rsplit(".", 1)[-1]
    if activation not in _ACTIVATIONS:
        raise ConfigurationError(
            f"rerank_model: {name!r} uses {activation} in a dense layer; supported are {', '.join(_ACTIVATIONS)}"
        )
    linear = torch.nn.Linear(config["in_features"], config["out_features"], bias=bool(config.get("bias", True)))
    try:
        weights = load_file(folder / "model.safetensors")
        linear.load_state_dict({key.removeprefix("linear."): value for key, value in weights.items()})
    except (OSError, RuntimeError) as error:
        raise BackboneError(f"rerank_model: a dense layer of {name!r} has no readable model.safetensors") from error
    return torch.nn.Sequential(linear, getattr(torch.nn, activation)()).eval().requires_grad_(False)


def _transformer(folder: Path, name: str, max_tokens: int | None) -> tuple[Any, Any]:
    import torch
    from safetensors import SafetensorError
    from tokenizers import Tokenizer
    from transformers import AutoModel, AutoTokenizer

    from_pretrained: Any = AutoModel.from_pretrained
    try:
        with quiet_loading():
            slow: Any = AutoTokenizer.from_pretrained(folder)
            model, loading = from_pretrained(
                folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise BackboneError(f"rerank_model: the transformer of {name!r} could not be loaded") from error
    if missing := sorted(key for key in loading["missing_keys"] if not key.startswith("pooler.")):  # which is not read
        raise BackboneError(f"rerank_model: {name!r} lacks weights ({', '.join(missing[:3])}, ...)")
    backend = getattr(slow, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        raise ConfigurationError(f"rerank_model: {name!r} has no tokenizer.json; give a model with a fast tokenizer")
    # A copy of its own, whose cutting and padding no other user of the tokenizer changes.
    tokenizer = Tokenizer.from_str(backend.to_str())
    limits = [max_tokens, getattr(model.config, "max_position_embeddings", None), slow.model_max_length]
    known = [int(limit) for limit in limits if limit and limit < 1_000_000]  # a missing one may be 10^30
    tokenizer.enable_truncation(min(known, default=DEFAULT_TOKENS))
    pad = slow.pad_token_id if slow.pad_token_id is not None else 0  # masked, so which one it is makes no difference
    tokenizer.enable_padding(direction=slow.padding_side, pad_id=pad, pad_token=slow.pad_token or "[PAD]")
    return tokenizer, model.eval().requires_grad_(False)


def _prompt(folder: Path, name: str) -> str:
    """What the model's makers put before every text unless told otherwise."""
    path = folder / "config_sentence_transformers.json"
    if not path.exists():
        return ""
    config = _read(path, name)
    chosen = config.get("default_prompt_name")
    return "" if chosen is None else str(config.get("prompts", {}).get(chosen, ""))
