"""The run context: every knob of a run, flat, with the help texts that the command line and Studio show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError

from webrec.errors import ConfigurationError, InputError
from webrec.models.config import BackboneConfig, DecoderConfig, KeywordConfig, ReasonConfig, ReuseConfig, ScoreConfig
from webrec.nodes.validation import first_error
from webrec.tools.config import (
    CrowdConfig,
    FetchConfig,
    LeakageConfig,
    LimitsConfig,
    ReadConfig,
    RerankConfig,
    SearchConfig,
)


class RunContext(
    BackboneConfig,
    ReasonConfig,
    DecoderConfig,
    ReuseConfig,
    KeywordConfig,
    SearchConfig,
    LimitsConfig,
    FetchConfig,
    ReadConfig,
    LeakageConfig,
    RerankConfig,
    ScoreConfig,
    CrowdConfig,
):
    """Settings of one run. Each concern's own object is a base class. Raises `ConfigurationError` naming the first wrong one."""

    if not TYPE_CHECKING:  # whose signature stays the fields'

        def __init__(self, **settings: Any) -> None:
            """As LangGraph makes it from what a run is given, before any node could explain what is wrong."""
            try:
                super().__init__(**settings)
            except ValidationError as error:
                raise ConfigurationError(first_error(error)) from None

    retrieval: bool = Field(default=True, description="Read the web before recommending; off scores the bare prompt.")
    query_strategy: str = Field(
        default="keywords",
        description="Where the web query comes from: keywords (picked from the backbone's tokens), llm (the backbone writes a "
        "query), prompt (the recommendation prompt itself), none (no retrieval).",
        json_schema_extra={"examples": ["keywords", "llm", "prompt", "none"]},
    )
    history_items: int = Field(default=10, ge=1, le=200, description="How many of the user's last items are used.")
    title_words: int | None = Field(
        default=None,
        ge=1,
        description="Most words of a title in prompts and as an answer, the first ones; candidates that this would make alike "
        "stay whole. Unset: whole titles.",
    )


def make_context(settings: RunContext | dict[str, Any] | None) -> RunContext:
    """The context of a run; None gives the defaults. Raises `ConfigurationError` naming the first wrong setting."""
    if isinstance(settings, RunContext):
        return settings
    try:
        return RunContext.model_validate(settings or {})
    except ValidationError as error:
        raise ConfigurationError(first_error(error)) from None


def effective_context(given: Any, state: Mapping[str, Any]) -> RunContext:
    """What a node or edge goes by: the settings that the run began with, and in their place those given to this call.

    So a paused run that is resumed with one setting, or with none, keeps its others. A server gives none as an empty object.
    """
    said = given.model_dump(include=given.model_fields_set) if isinstance(given, RunContext) else given
    if said and not isinstance(said, Mapping):
        return make_context(said)  # which says what is wrong
    began = state.get("settings") or {}
    if not isinstance(began, Mapping):
        raise InputError("settings: they are no object; give the settings by name, or leave them as they were")
    held = {name: value for name, value in began.items() if name in RunContext.model_fields}
    return make_context({**held, **(said or {})})
