"""Tiny LLaMAs under PEFT with a head whose every tensor is random, and their logits by hand."""

from __future__ import annotations

import copy
import json
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from torch import Tensor
from transformers import LlamaForCausalLM

from webrec.models.mp_head.config import MPHeadConfig
from webrec.models.mp_head.model import MPHead
from webrec.models.mp_head.standardise import Moments, Standardise

from .reference import lora_feature, soft_prompt_feature
from .whole_model import reference_logits

VIRTUAL = 3
TUNINGS = ("lora", "prompt")
HEADS: dict[str, dict[str, Any]] = {
    "literal": {"kind": "literal", "top_k": 5},
    "others": {"kind": "literal", "self_loops": False, "hops": 2, "top_k": 5, "rotary": True},
    "linear": {"kind": "linear", "top_k": None, "rotary": True},
    "linear-k": {"kind": "linear", "top_k": 5, "hops": 2},
    "pairwise": {"kind": "pairwise", "hops": 2, "top_k": 5, "layers": (0, 1)},
    "standardised": {"kind": "pairwise", "top_k": 5, "rotary": True, "standardise": True},
}


@dataclass(frozen=True)
class Attached:
    """`model` is the PEFT model around `llama`; all is float64 unless said."""

    llama: LlamaForCausalLM
    model: Any
    head: MPHead

    def logits(self, ids: Tensor, **inputs: Any) -> Tensor:
        """Of PEFT's forward; those of virtual tokens are left out."""
        with torch.no_grad():
            logits: Tensor = self.model(input_ids=ids, **inputs).logits
        return logits[:, -ids.shape[1] :]

    def virtual(self) -> Tensor:
        """(virtual tokens, hidden); none under LoRA."""
        encoder = getattr(self.model, "prompt_encoder", None)
        if not encoder:
            return torch.zeros(0, self.llama.config.hidden_size, dtype=torch.float64)
        weight: Tensor = encoder["default"].embedding.weight
        return weight.detach()

    def z(self) -> Tensor:
        """The task feature, from its definition."""
        if len(virtual := self.virtual()):
            return torch.from_numpy(soft_prompt_feature(virtual))
        names = ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj")
        adapted = [m for name, m in self.llama.named_modules() if name.endswith(names) and hasattr(m, "lora_A")]
        return torch.from_numpy(
            lora_feature([(m.lora_A["default"].weight, m.lora_B["default"].weight) for m in adapted])
        )

    def by_hand(self, ids: list[int], node_mask: list[bool], padding: int = 0) -> Tensor:
        """(T, vocabulary) of one row; `padding` counts the positions that are left out before the first token."""
        virtual = self.virtual()
        embeds = torch.cat([virtual, self.llama.model.embed_tokens.weight.detach()[ids]])
        heads = {int(n): (self.head.config, layer.state_dict(), self.z()) for n, layer in self.head.layers.items()}
        mask = [False] * len(virtual) + node_mask
        places = [*range(len(virtual)), *range(len(virtual) + padding, len(embeds) + padding)]
        return reference_logits(self.llama, embeds, mask, heads, places)[len(virtual) :]


def load(folder: Path, dtype: torch.dtype = torch.float64, attention: str = "sdpa", **changes: Any) -> LlamaForCausalLM:
    """One that nothing else uses."""
    return copy.deepcopy(_load(folder, dtype, attention, json.dumps(changes)))


@cache
def _load(folder: Path, dtype: torch.dtype, attention: str, changes: str) -> LlamaForCausalLM:
    model = LlamaForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation=attention, **json.loads(changes))
    return model.eval()


def tuned(llama: LlamaForCausalLM, tuning: str = "lora", seed: int = 0) -> Any:
    """A PEFT model, all that is fine-tuned random. o_proj is adapted too: its input is as wide as the hidden state, but is not it."""
    config = (
        LoraConfig(task_type="CAUSAL_LM", r=3, lora_alpha=6, target_modules=["q_proj", "v_proj", "up_proj", "o_proj"])
        if tuning == "lora"
        else PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=VIRTUAL)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PEFT's own
        model = get_peft_model(llama, config)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:  # the same numbers whatever the format
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=draw))
    return model.to(llama.dtype).eval()


def attach(llama: LlamaForCausalLM, tuning: str = "lora", seed: int = 0, **config: Any) -> Attached:
    """A head with random tensors on `llama`, in its number format but for bfloat16."""
    model = tuned(llama, tuning, seed)
    head = MPHead(MPHeadConfig.model_validate({"layers": (1,)} | config), llama.config).attach(model)
    head.to(torch.promote_types(llama.dtype, torch.float32))
    randomise(head, seed)
    return Attached(llama, model.eval(), head.eval())


def randomise(head: MPHead, seed: int = 0) -> None:
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in head.parameters():
            scale = 0.5 if parameter.dim() < 2 else parameter.shape[1] ** -0.5
            parameter.copy_(scale * torch.randn(parameter.shape, generator=draw))
        for gate in head.gates():
            gate.fill_(2.0)
        for module in head.modules():
            if isinstance(module, Standardise):
                moments = Moments()
                moments.add(0.5 + 0.8 * torch.randn((9, len(module.mean)), generator=draw))
                module.set(moments)


def tokens(llama: LlamaForCausalLM, batch: int, length: int, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(100 + seed)
    return torch.randint(4, llama.config.vocab_size, (batch, length), generator=draw)


def before(length: int, prompt: int) -> list[bool]:
    """Which of `length` tokens are nodes if the first `prompt` are."""
    return [i < prompt for i in range(length)]
