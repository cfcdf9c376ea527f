"""Settings of the message-passing head, and the sizes it takes from its backbone. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

MAX_LAYER = 1_000


class MPHeadConfig(BaseModel):
    """Which head, where, and how much it reads (section 3.2 of the paper)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["literal", "linear", "pairwise"] = Field(
        default="literal",
        description="literal: the paper's message passing (Eq. 12-15); linear: its LIN-Head, no relations; "
        "pairwise: relations between each two kept tokens (ours).",
    )
    layers: tuple[int, ...] = Field(
        default=(2,), min_length=1, description="Decoder layers that get a head each, from 0; the paper's default is 2."
    )
    hops: int = Field(default=1, ge=1, le=8, description="Rounds of message passing (the paper: 1 to 3).")
    top_k: int | None = Field(
        default=64, ge=1, description="Prompt tokens kept, those most relevant to the task (Eq. 12); unset keeps all."
    )
    self_loops: bool = Field(
        default=True, description="Whether a token passes a message to itself (literal kind; the paper says both)."
    )
    rotary: bool = Field(
        default=False,
        description="Use keys and queries after the rotary embedding, which makes the head depend on distances.",
    )
    standardise: bool = Field(
        default=False,
        description="Shift and scale keys, values and queries to mean 0 and variance 1 over training prompts, measured before "
        "the first step (ours): else what all tokens share outweighs what tells them apart.",
    )
    task_feature: Literal["tuned", "zero"] = Field(
        default="tuned",
        description="tuned: z is read out of what is fine-tuned (soft prompt or LoRA); zero: no task feature (ablation).",
    )
    task_scale: bool = Field(
        default=True, description="Scale entities by the task direction before relating them (pairwise kind; τ)."
    )
    relevance_bias: bool = Field(
        default=True, description="Prefer relevant tokens when mixing, by a learned weight (pairwise kind; β)."
    )
    mixing: Literal["softmax", "identity", "uniform"] = Field(
        default="softmax", description="How kept tokens are mixed (pairwise kind); the others are ablations."
    )
    learned_depth: bool = Field(
        default=True, description="Learn how much each hop counts (pairwise kind); off weighs all hops the same."
    )

    @field_validator("layers")
    @classmethod
    def _distinct(cls, layers: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(layers)) != len(layers) or not all(0 <= layer <= MAX_LAYER for layer in layers):
            raise ValueError(f"must be distinct numbers from 0 to {MAX_LAYER}")
        return tuple(sorted(layers))

    @property
    def selects(self) -> bool:
        """Whether relevance to the task is computed at all; a linear head that reads everything needs none."""
        return self.kind != "linear" or self.top_k is not None

    @property
    def needs_task(self) -> bool:
        """Whether something must be fine-tuned beside the head for it to take its task feature from."""
        return self.selects and self.task_feature == "tuned"

    def describe(self) -> str:
        """One phrase, e.g. `literal (layer 2, 1 hop, top 64)`."""
        layers = f"layer{'s' * (len(self.layers) > 1)} {', '.join(map(str, self.layers))}"
        hops = f"{self.hops} hop{'s' * (self.hops > 1)}"
        kept = "all tokens" if self.top_k is None else f"top {self.top_k}"
        return f"{self.kind} ({layers}, {hops}, {kept}{', standardised' * self.standardise})"


@dataclass(frozen=True)
class HeadShape:
    """Sizes of the backbone: hidden width, width d of an attention head, and key/value heads."""

    hidden: int
    head_dim: int
    kv_heads: int

    @classmethod
    def of(cls, llama_config: Any) -> HeadShape:
        """The sizes in a transformers `LlamaConfig`."""
        heads = int(llama_config.num_attention_heads)
        return cls(
            hidden=int(llama_config.hidden_size),
            head_dim=int(getattr(llama_config, "head_dim", None) or llama_config.hidden_size // heads),
            kv_heads=int(getattr(llama_config, "num_key_value_heads", None) or heads),
        )

    @property
    def entity(self) -> int:
        """Width of an entity: a key and a value, 2·d."""
        return 2 * self.head_dim
