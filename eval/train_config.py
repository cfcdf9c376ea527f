"""The configuration of a training run, and reading it from a file. Free of torch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from webrec.errors import ConfigurationError
from webrec.eval.settings_file import read_settings, sentence
from webrec.models.config import BackboneConfig, LoraTuning, PromptForm, Tuning
from webrec.models.mp_head.config import MPHeadConfig
from webrec.models.training.config import TrainingConfig

NOT_SETTINGS = ("adapter", "adapter_revision")
"""Fields of `BackboneConfig` that a run refuses, since it makes a new adapter."""


class PromptConfig(BaseModel):
    """How the prompt is made: as `webrec recommend` makes it with the settings of the same names."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    history_items: int = Field(default=10, ge=1, le=200, description="How many of the user's last items are used.")
    title_words: int | None = Field(
        default=None,
        ge=1,
        description="Most words of a title in prompts and as an answer, the first ones; candidates that this would make alike "
        "stay whole. Unset: whole titles.",
    )
    prompt_form: PromptForm = "request"
    pages: int = Field(default=10, ge=0, le=50, description="Pages that reach the prompt at most; 0 trains without.")
    prompt_tokens: int | None = Field(
        default=None,
        ge=64,
        description="Most tokens of prompt and answer together; unset takes the backbone's context length.",
    )
    page_tokens: int | None = Field(
        default=None,
        ge=1,
        description="Most tokens of one page's text in the prompt, cut at a sentence end; unset: what fits.",
    )
    pages_tokens: int | None = Field(
        default=None, ge=1, description="Most tokens of all pages' texts in the prompt; unset: what fits."
    )
    seed: int = Field(
        default=0, ge=0, le=2**31 - 1, description="Seed of the hash that orders the candidates in the prompt."
    )


class TrainRunConfig(BackboneConfig):
    """A whole training run: data, backbone, what is trained on top of it, and how."""

    train: Path = Field(description="JSONL file of the examples to train on.")
    valid: Path = Field(description="JSONL file of other users' examples; they choose the adapter that is kept.")
    output: Path = Field(description="Folder of the run: new, empty, or that of the same run, which then goes on.")
    prompt: PromptConfig = Field(default=PromptConfig(), description="How the prompt is made.")
    tuning: Tuning = Field(default=LoraTuning(), description="What is fine-tuned: kind is lora or soft_prompt.")
    head: MPHeadConfig | None = Field(
        default=MPHeadConfig(), description="The message-passing head; none trains without one."
    )
    training: TrainingConfig = Field(default=TrainingConfig(), description="How it is trained.")

    @field_validator("tuning", mode="before")
    @classmethod
    def _lora_unless_said(cls, value: Any) -> Any:
        return {"kind": "lora", **value} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _new_adapter(self) -> Self:
        if self.adapter is not None or self.adapter_revision is not None:
            raise ValueError("adapter: a run trains a new adapter; remove this setting")
        return self

    def backbone_config(self) -> BackboneConfig:
        """The backbone alone."""
        return BackboneConfig(**{name: getattr(self, name) for name in BackboneConfig.model_fields})


def read_config(path: Path, changes: Iterable[str] = ()) -> TrainRunConfig:
    """The configuration in a TOML file (JSON if its name ends in .json), with `changes` like `training.epochs=1`.

    Paths are relative to the file's folder; "none" unsets a setting. Raises `ConfigurationError`: one sentence naming the setting and the fix.
    """
    try:
        config = TrainRunConfig.model_validate(read_settings(path, changes))
    except ValidationError as error:
        raise ConfigurationError(sentence(error)) from None
    folder = path.resolve().parent
    resolved = {name: (folder / getattr(config, name).expanduser()).resolve() for name in ("train", "valid", "output")}
    beside = folder / config.backbone
    updates: dict[str, Any] = {**resolved, **({"backbone": str(beside)} if beside.is_dir() else {})}
    for name in ("train", "valid"):
        if not resolved[name].is_file():
            raise ConfigurationError(
                f"{name}: {resolved[name]} is not a file that exists; give a JSONL file of examples"
            )
    if resolved["output"].exists() and not resolved["output"].is_dir():
        raise ConfigurationError(f"output: {resolved['output']} is a file; give a folder")
    return config.model_copy(update=updates)
