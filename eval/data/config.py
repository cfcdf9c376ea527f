"""The settings of an evaluation's data: what is read, what is left out, how it is split, what the candidates are."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from webrec.errors import ConfigurationError
from webrec.eval.data.candidates import SAMPLINGS, Sampling

Protocol = Literal["leave_one_out", "time_cut"]
SameTime = Literal["shuffled", "as_listed"]
WINDOWS = (200, 100, 50, 30)
"""What an unset `window` tries before the narrowest, which is `candidates` itself."""
_NAMES = "letters, digits, _ . - , ( ) and spaces inside, no dot first"


class DataConfig(BaseModel):
    """One data set as an evaluation uses it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path = Field(
        description="Folder with interactions.csv and items.jsonl (or .gz), or with a MovieLens or Amazon release; relative to the file."
    )
    name: str | None = Field(
        default=None,
        description="Name in tables and files: letters, digits, dots, dashes, spaces; unset takes the folder's.",
    )
    min_interactions: int = Field(
        default=5, ge=0, le=1000, description="Users and items with fewer are removed, until none is left; 0 keeps all."
    )
    protocol: Protocol = Field(
        default="leave_one_out",
        description="leave_one_out: each user's last item tests, the one before validates; time_cut: the same moment for all users.",
    )
    same_time: SameTime = Field(
        default="shuffled",
        description="Order of what a user took at the same time: shuffled by the seed, since sources list it by item id, which would "
        "tell the last; or as_listed.",
    )
    history_items: int = Field(default=10, ge=1, le=200, description="How many of the user's last items systems see.")
    candidates: int = Field(
        default=20, ge=2, le=1000, description="Items to rank for each example, the target among them."
    )
    draws: int = Field(default=5, ge=1, le=100, description="Frozen candidate sets for each user and sampling.")
    samplings: tuple[Sampling, ...] = Field(
        default=SAMPLINGS,
        min_length=1,
        description="uniform: the other candidates are drawn evenly; matched: among items about as popular as the target; covered: "
        "as matched, and with pages in the data set's corpus as the target, or without as the target.",
    )
    window: int | None = Field(
        default=None,
        ge=2,
        description="Neighbours in popularity that matched draws from; unset takes the widest that tells nothing of the target.",
    )
    test_users: int | None = Field(
        default=None, ge=1, description="Users to test on, drawn by the seed; unset takes all."
    )
    validation_users: int | None = Field(
        default=1000, ge=1, description="Users to validate on, drawn by the seed; unset takes all."
    )
    tuning_examples: int = Field(
        default=0,
        ge=0,
        description="Examples that end inside the training part, one candidate set each, for systems that are fine-tuned on such.",
    )
    seed: int = Field(default=0, ge=0, le=2**31 - 1, description="Seed of everything that is drawn.")

    @field_validator("name")
    @classmethod
    def _can_name_files(cls, value: str | None) -> str | None:
        if value is not None and not _names_files(value):
            raise ValueError(f"it cannot name files; use {_NAMES}")
        return value

    @field_validator("samplings")
    @classmethod
    def _each_once(cls, value: tuple[Sampling, ...]) -> tuple[Sampling, ...]:
        if twice := next((one for one in value if value.count(one) > 1), None):
            raise ValueError(f"{twice} is there twice; remove one of them")
        return value


def checked_name(config: DataConfig) -> str:
    """What the data set is called in tables and files. Raises `ConfigurationError` where it could lead out of their folder."""
    name = config.name or config.path.name
    if not _names_files(name):
        raise ConfigurationError(
            f"name: {name!r} cannot name files; set name to another one ({_NAMES}), or rename the data set's folder"
        )
    return name


def _names_files(name: str) -> bool:
    # Marks stand on letters, in the names that macOS writes and in many scripts.
    known = all(c in "_.-,() " or unicodedata.category(c)[0] in "LMN" for c in name)
    return known and name != "" and name.strip(" ") == name and not name.startswith(".")
