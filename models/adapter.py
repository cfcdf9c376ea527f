"""A LLaMA with what is trained on top of it: PEFT's LoRA or soft prompt, and the message-passing head."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from webrec.errors import ConfigurationError, missing_extra
from webrec.models.config import LoraTuning, SoftPromptTuning
from webrec.models.mp_head.config import MPHeadConfig
from webrec.models.mp_head.files import (
    ADAPTER_TYPE,
    ASKED_FILE,
    CONFIG_FILE,
    PEFT_FOLDER,
    WEIGHTS_FILE,
    fetch_folder,
    push_folder,
    read_asked,
    read_config,
)
from webrec.models.mp_head.model import MPHead
from webrec.models.mp_head.task import soft_prompt

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM


class AdaptedLlama(nn.Module):
    """A frozen LLaMA, what is fine-tuned in it, and its head: trained, saved and served together.

    On disk: a plain PEFT folder, or, with a head, the head's files with a PEFT folder `peft` inside. `asked`: the settings of
    prompt and score, by name, that it was trained with; `prompt.json` on disk.
    """

    def __init__(
        self, llama: LlamaForCausalLM, peft: Any, head: MPHead | None, asked: dict[str, Any] | None = None
    ) -> None:
        """Takes the parts as `new` and `from_pretrained` make them: LoRA injected into `llama`, the head attached."""
        super().__init__()
        self.llama, self.peft, self.head, self.asked = llama, peft, head, asked or {}

    @classmethod
    def new(
        cls, llama: LlamaForCausalLM, tuning: LoraTuning | SoftPromptTuning, head: MPHeadConfig | None, *, seed: int = 0
    ) -> AdaptedLlama:
        """Freeze `llama` and add an untrained adapter, its random weights drawn from `seed`.

        The answers do not change where `tuning` is a LoRA. Raises `ConfigurationError` for targets or layers the
        backbone lacks, `MissingExtraError` without PEFT.
        """
        peft = require_peft()
        llama.requires_grad_(False)
        config: Any
        if isinstance(tuning, LoraTuning):
            config = peft.LoraConfig(
                task_type="CAUSAL_LM",
                r=tuning.rank,
                lora_alpha=tuning.alpha,
                lora_dropout=tuning.dropout,
                target_modules=list(tuning.targets),
            )
        else:
            # Real words' embeddings are a better start than noise of another scale (Lester et al. 2021, "vocab").
            config = peft.PromptTuningConfig(
                task_type="CAUSAL_LM", num_virtual_tokens=tuning.tokens, prompt_tuning_init="SAMPLE_VOCAB"
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                with _quiet():
                    adapted = peft.get_peft_model(llama, config)
            except ValueError as error:  # PEFT's words for targets that match nothing
                raise ConfigurationError(f"targets: {str(error).splitlines()[0]}") from None
            made = None if head is None else MPHead(head, llama.config).attach(adapted)
        # What is trained stays float32 whatever the backbone's format is.
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
        return cls(llama, adapted, made)

    @classmethod
    def from_pretrained(cls, llama: LlamaForCausalLM, name: str | Path, revision: str | None = None) -> AdaptedLlama:
        """Add the saved adapter `name` (a folder or a hub id) to `llama`, in evaluation mode.

        Raises `ConfigurationError` for what is no adapter, was made for another backbone, or is not in safetensors.
        """
        folder = fetch_folder(str(name), revision)
        has_head = read_config(folder).get("adapter_type") == ADAPTER_TYPE
        head = MPHead.from_pretrained(folder) if has_head else None
        if head is not None:
            head.check_fit(llama)
        inner = folder / PEFT_FOLDER if has_head else folder
        if has_head and read_config(folder).get("with_peft") and not inner.is_dir():
            raise ConfigurationError(f"adapter: {folder} lacks its folder {PEFT_FOLDER}; copy the whole adapter")
        adapted = _load_peft(llama, inner) if inner.is_dir() else None
        if head is not None:
            head.attach(llama if adapted is None else adapted)
        made = cls(llama, adapted, head, read_asked(folder))
        made.requires_grad_(False)
        return made.eval()

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the adapter; the backbone is not part of it."""
        folder = Path(folder)
        if self.head is not None:
            self.head.save_pretrained(folder, with_peft=self.peft is not None)
        if self.peft is not None:
            _save_peft(self.peft, folder / PEFT_FOLDER if self.head is not None else folder)
        if self.asked:
            (folder / ASKED_FILE).write_text(json.dumps(self.asked, indent=2) + "\n", encoding="utf-8")

    def push_to_hub(self, repo_id: str, *, private: bool | None = None, token: str | None = None) -> str:
        """Save to a hub repository, made if need be; returns the address of the commit."""
        return push_folder(self.save_pretrained, repo_id, private=private, token=token)

    def soft_prompt(self) -> Tensor | None:
        """The virtual tokens that go before every prompt, shape (tokens, hidden), or None."""
        embedding = None if self.peft is None else soft_prompt(self.peft)
        return None if embedding is None else embedding.weight

    def trained(self) -> dict[str, nn.Parameter]:
        """Every trained parameter, by a name that does not depend on how PEFT wraps the backbone."""
        found: dict[str, nn.Parameter] = {}
        if self.head is not None:
            found |= {f"head.{name}": p for name, p in self.head.named_parameters() if p.requires_grad}
        ours = {id(p) for p in found.values()}
        if self.peft is not None:
            found |= {f"peft.{n}": p for n, p in self.peft.named_parameters() if p.requires_grad and id(p) not in ours}
        return found

    def describe(self) -> str:
        """The head in one phrase, `none` without one."""
        return "none" if self.head is None else self.head.config.describe()

    def describe_tuning(self) -> str:
        """What is fine-tuned in one phrase, e.g. `LoRA (rank 8: q_proj, v_proj)`."""
        if self.peft is None:
            return "none"
        config = self.peft.active_peft_config
        if self.soft_prompt() is not None:
            return f"soft prompt ({config.num_virtual_tokens} tokens)"
        return f"LoRA (rank {config.r}: {', '.join(sorted(config.target_modules))})"


def require_peft() -> Any:
    """The PEFT package. Raises `MissingExtraError` naming the extra that has it."""
    if find_spec("peft") is None:
        raise missing_extra("adapter", "peft")
    import peft

    return peft


@contextmanager
def _quiet() -> Iterator[None]:
    """PEFT calls what transformers is about to rename; nobody here can do anything about it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)
        yield


def _save_peft(adapted: Any, folder: Path) -> None:
    adapted.save_pretrained(str(folder))
    (folder / "README.md").unlink(missing_ok=True)  # an empty form
    described = read_config(folder)
    base = described.get("base_model_name_or_path")
    if base and Path(base).exists():  # a path of this machine says nothing elsewhere
        described["base_model_name_or_path"] = None
        (folder / CONFIG_FILE).write_text(json.dumps(described, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _load_peft(llama: LlamaForCausalLM, folder: Path) -> Any:
    described = read_config(folder)
    kind = described.get("peft_type")
    if kind not in ("LORA", "PROMPT_TUNING"):
        raise ConfigurationError(f"adapter: {folder} is of PEFT type {kind!r}; give a LoRA or a prompt tuning")
    if not (folder / WEIGHTS_FILE).is_file():  # PEFT would fall back to a pickle
        raise ConfigurationError(f"adapter: {folder} has no {WEIGHTS_FILE}; only safetensors are loaded, save it again")
    peft = require_peft()
    from safetensors import SafetensorError, safe_open

    try:
        with _quiet(), warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message="Found missing adapter keys", category=UserWarning
            )  # refused below
            adapted = peft.PeftModel.from_pretrained(llama, str(folder))
        with safe_open(folder / WEIGHTS_FILE, "pt") as file:
            held = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (ValueError, RuntimeError, TypeError, KeyError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigurationError(f"adapter: {folder} does not fit this backbone or is damaged ({reason})") from None
    # PEFT fills what is missing with random numbers, and leaves out what has no place. (By default it would look for the base model's
    # embeddings on the hub, by the name that the adapter gives.)
    with _quiet():
        tensors = peft.get_peft_model_state_dict(adapted, save_embedding_layers=False)
    wanted = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    held = {name: shape for name, shape in held.items() if ".base_layer." not in name or name in wanted}
    if wrong := sorted(n for n in held.keys() | wanted.keys() if held.get(n) != wanted.get(n)):
        raise ConfigurationError(
            f"adapter: {folder} does not fit this backbone or is damaged ({len(wrong)} tensors differ, first {wrong[0]})"
        )
    return adapted
