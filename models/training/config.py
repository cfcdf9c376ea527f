"""Settings of training. Free of torch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from webrec.models.config import ScoreBy


class TrainingConfig(BaseModel):
    """How an adapter is trained."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    loss: Literal["listwise", "title"] = Field(
        default="listwise",
        description="listwise: cross-entropy over the candidates' scores (ours); title: negative "
        "log-likelihood of the target's title (Eq. 17).",
    )
    score_by: ScoreBy = "mean"
    temperature: float | None = Field(
        default=None,
        gt=0,
        le=100,
        description="What scores are divided by in the listwise loss; unset: 0.4 where score_by is mean, else 3.",
    )
    epochs: int = Field(default=5, ge=1, le=10_000, description="Passes over the training examples (the paper: 5).")
    batch_size: int = Field(
        default=8, ge=1, le=65_536, description="Examples for one step of the optimiser (the paper: 8)."
    )
    micro_batch: int = Field(
        default=1,
        ge=1,
        le=4096,
        description="Examples computed at once; gradients add up to the same, memory does not.",
    )
    learning_rate: float = Field(default=1e-3, gt=0, le=1, description="Highest learning rate.")
    gate_learning_rate: float = Field(
        default=1e-2, gt=0, le=10, description="Highest learning rate of the head's gates, which start at 0."
    )
    weight_decay: float = Field(
        default=0.01, ge=0, le=1, description="Weight decay of matrices; gates and biases have none."
    )
    warmup_steps: int = Field(
        default=10, ge=0, le=1_000_000, description="Steps over which the learning rate rises; the first is above 0."
    )
    schedule: Literal["linear", "cosine", "constant"] = Field(
        default="linear", description="How the learning rate falls after the warm-up."
    )
    clip_norm: float = Field(
        default=1.0, gt=0, description="Greatest norm of the gradient; a longer one is scaled down."
    )
    validate_every: int = Field(
        default=50, ge=1, description="Steps between two validations; the last step has one too."
    )
    best_by: Literal["loss", "ndcg10"] = Field(
        default="loss",
        description="What makes one state better than another on the validation examples: their loss, or NDCG@10, which needs "
        "thousands of them to tell two states apart.",
    )
    patience: int = Field(
        default=5,
        ge=1,
        le=10_000_000,
        description="Validations in a row without a better state after which training stops.",
    )
    checkpoint_every: int = Field(default=25, ge=1, le=10_000_000, description="Steps between two checkpoints.")
    keep_checkpoints: int = Field(default=2, ge=1, le=1000, description="Newest checkpoints kept.")
    seed: int = Field(
        default=0, ge=0, le=2**31 - 1, description="Seed of new weights, of the order of examples and of dropout."
    )
