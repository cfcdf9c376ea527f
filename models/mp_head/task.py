"""The task feature z: a summary of what is being fine-tuned, from which relevance is computed (Eq. 11)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from webrec.errors import ConfigurationError

NORM_EPS = 1e-6
# Modules of a LLaMA layer whose input is the hidden state; the others' inputs live in other spaces.
READS_HIDDEN = frozenset({"q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"})


class TaskFeature(nn.Module):
    """z, shape (hidden,), RMS-normalised: live while training, a buffer otherwise.

    The buffer is refreshed whenever the module is put in evaluation mode, and it is saved, so that z survives merging
    the LoRA or dropping the soft prompt.
    """

    z: Tensor

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.register_buffer("z", torch.zeros(hidden))
        self._source: SoftPromptSource | LoraSource | None = None  # an object, so that a deep copy has its own

    def forward(self) -> Tensor:
        """z, with a gradient to what is fine-tuned while training."""
        return self._source() if self.training and self._source is not None else self.z

    def train(self, mode: bool = True) -> TaskFeature:
        """Evaluation mode freezes z as it is now."""
        super().train(mode)
        if not mode:
            self.refresh()
        return self

    def refresh(self) -> None:
        """Copy the live z into the buffer; to be called where weights were changed in evaluation mode."""
        if self._source is not None:
            with torch.inference_mode(False), torch.no_grad():  # a tensor of inference mode could not be trained past
                self.z = self._source().to(self.z)

    def follow(self, model: Any) -> bool:
        """Take z from the soft prompt or LoRA of `model` from now on; False if nothing is fine-tuned there.

        Raises `ConfigurationError` for a LoRA that adapts no module whose input is the hidden state.
        """
        self._source = source_in(model)
        self.refresh()
        return self._source is not None

    def unfollow(self) -> None:
        """Keep z as it is now."""
        self.refresh()
        self._source = None


def normalised(feature: Tensor) -> Tensor:
    """`feature` divided by its root mean square."""
    return nn.functional.rms_norm(feature, feature.shape, eps=NORM_EPS)


def soft_prompt(model: Any) -> nn.Embedding | None:
    """The virtual tokens of a PEFT model under prompt tuning, shape (tokens, hidden)."""
    encoders = getattr(model, "prompt_encoder", None)
    if not encoders:
        return None
    embedding = getattr(encoders[model.active_adapter], "embedding", None)
    return embedding if isinstance(embedding, nn.Embedding) else None


@dataclass(frozen=True)
class SoftPromptSource:
    """z as the normalised mean of the virtual tokens."""

    embedding: nn.Embedding

    def __call__(self) -> Tensor:
        """z, shape (hidden,)."""
        return normalised(self.embedding.weight.mean(0))


@dataclass(frozen=True)
class LoraSource:
    """z as the normalised mean over modules and ranks ρ of `(1 + ‖B[:,ρ]‖²)·A[ρ,:]`."""

    pairs: tuple[tuple[nn.Linear, nn.Linear], ...]

    def __call__(self) -> Tensor:
        """z, shape (hidden,)."""
        rows = torch.cat([a.weight for a, _ in self.pairs])
        scale = torch.cat([1 + b.weight.square().sum(0) for _, b in self.pairs])
        return normalised((scale[:, None] * rows).mean(0))


def source_in(model: Any) -> SoftPromptSource | LoraSource | None:
    """What is fine-tuned in `model`; None if nothing is."""
    if (embedding := soft_prompt(model)) is not None:
        return SoftPromptSource(embedding)
    found = list(_lora_pairs(model))
    if not found:
        return None
    pairs = tuple((a, b) for name, a, b in found if name in READS_HIDDEN)
    if not pairs:
        raise ConfigurationError(
            f"targets: LoRA adapts {', '.join(sorted({name for name, _, _ in found}))} only, and the head's task "
            f"feature needs a module that reads the hidden state; add one of {', '.join(sorted(READS_HIDDEN))}"
        )
    return LoraSource(pairs)


def _lora_pairs(model: Any) -> Iterator[tuple[str, nn.Linear, nn.Linear]]:
    """Name, A and B of every active LoRA; recognised by its members, so that PEFT need not be installed."""
    for name, module in model.named_modules():
        if not (hasattr(module, "lora_A") and hasattr(module, "lora_B")):
            continue
        for adapter in getattr(module, "active_adapters", ()):
            if adapter in module.lora_A:
                yield name.rsplit(".", 1)[-1], module.lora_A[adapter], module.lora_B[adapter]
