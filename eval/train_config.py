"""The configuration of a training run, and reading it from a file. Free of torch."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from webrec.errors import ConfigurationError
from webrec.models.config import BackboneConfig, LoraTuning, Tuning
from webrec.models.mp_head.config import MPHeadConfig
from webrec.models.training.config import TrainingConfig
from webrec.nodes.validation import first_error
from webrec.tools.text_safety import clean

NOT_SETTINGS = ("adapter", "adapter_revision")
"""Fields of `BackboneConfig` that a run refuses, since it makes a new adapter."""


class PromptConfig(BaseModel):
    """How the prompt is made: as `webrec recommend` makes it with the settings of the same names."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    history_items: int = Field(default=10, ge=1, le=200, description="How many of the user's last items are used.")
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
    data = _parse(path)
    for change in changes:
        _apply(data, change)
    try:
        config = TrainRunConfig.model_validate(_without_none(data))
    except ValidationError as error:
        raise ConfigurationError(_sentence(error)) from None
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


def _parse(path: Path) -> dict[str, Any]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigurationError(
            f"{path}: it cannot be read ({error.strerror}); give a TOML or JSON file of settings"
        ) from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: it is not UTF-8 text; save it as UTF-8") from None
    is_json = path.suffix.lower() == ".json"
    try:
        data = json.loads(text) if is_json else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        format_name = "JSON" if is_json else "TOML"
        raise ConfigurationError(f"{path}: it is not {format_name} ({clean(str(error))}); correct it there") from None
    if not isinstance(data, dict):
        raise ConfigurationError(f"{path}: it is not an object of settings; give at least train, valid and output")
    return data


def _without_none(value: Any) -> Any:
    """TOML has no null: the text "none" stands for it."""
    if isinstance(value, dict):
        return {name: _without_none(inner) for name, inner in value.items()}
    return None if value == "none" else value


def _apply(data: dict[str, Any], change: str) -> None:
    """Set one value, `table.name=value`; the value is TOML, or plain text where that fails."""
    name, found, text = change.partition("=")
    *tables, last = (part.strip() for part in name.split("."))
    if not found or not last or not all(tables):
        raise ConfigurationError(f"--set: {change!r} is no setting; write it like training.epochs=1")
    try:
        value: Any = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    for table in tables:
        inner = data.setdefault(table, {})
        if not isinstance(inner, dict):
            raise ConfigurationError(f"--set: {change!r} names a table, but {table} is {inner!r}; set {table} itself")
        data = inner
    data[last] = value


def _sentence(error: ValidationError) -> str:
    """The first problem as `table.name: what is wrong`."""
    problem = error.errors(include_url=False, include_context=True)[0]
    location = problem["loc"]
    if problem["type"] == "union_tag_invalid":
        return f"{'.'.join(map(str, location))}.kind: {clean(str(problem['ctx']['tag']), 60)!r} is unknown; use lora or soft_prompt"
    if problem["type"] == "missing":
        return f"{'.'.join(map(str, location))}: it is missing; set it in the configuration"
    if problem["type"] in {"model_type", "model_attributes_type", "dict_type"}:
        return f"{'.'.join(map(str, location[:1]))}: it is not a table; write its settings under [{location[0]}]"
    said = first_error(error)
    # Pydantic names the member of a union as if it were a field.
    return (
        said.replace(f"tuning.{location[1]}", "tuning", 1)
        if location[:1] == ("tuning",) and len(location) > 1
        else said
    )
