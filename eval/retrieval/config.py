"""The settings of what an evaluation reads: the pages of a data set, and how they are searched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from webrec.models.config import DecoderConfig, ReuseConfig
from webrec.nodes.context import RunContext
from webrec.tools.config import CrowdConfig


class PagesConfig(BaseModel):
    """One file of pages."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path = Field(description="JSONL file (or .gz) of pages: title, text, optionally url, published, authors, id.")
    matches: Path | None = Field(
        default=None, description="CSV file (or .gz) that says which item a page is about, by the page's id."
    )
    page_field: str = Field(default="page_id", description="Column of matches with the page's id.")
    item_field: str = Field(
        default="item_id", description="Column of matches, or field of the page, with the item it is about."
    )
    title_field: str = Field(default="title", description="Field of the page with its title.")
    time_field: str = Field(
        default="time",
        description="Field of the page with its time in Unix seconds, unless it says when it was published.",
    )
    author_field: str = Field(
        default="author",
        description="Field of the page with who wrote it, for not_by_user; user_id of an Amazon review of 2023.",
    )

    def renamed(self) -> dict[str, str]:
        """Which field is read as what, where it is another one."""
        told = {"title": self.title_field, "time": self.time_field, "author": self.author_field}
        return {name: field for name, field in told.items() if name != field}


class CorpusConfig(BaseModel):
    """All pages that can be found for one data set: some about its items, some about nothing of the kind."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pages: tuple[PagesConfig, ...] = Field(default=(), description="Files of pages about items.")
    descriptions: bool = Field(default=False, description="Make a page of each item's own description.")
    noise: tuple[PagesConfig, ...] = Field(default=(), description="Files of pages about other things.")
    noise_share: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="Share of noise among all pages, reached by leaving out some of one or the other; unset takes all.",
    )
    seed: int = Field(default=0, ge=0, le=2**31 - 1, description="Seed of what is left out.")


class RetrievalConfig(RunContext):
    """One way of searching, with the settings of a run of the graph; those of scoring count for nothing."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$",
        description="Name that systems ask for it by: letters, digits, dots, dashes.",
    )
    before_target: bool = Field(
        default=False, description="Leave out pages that are not older than the target; needs times (docs/leakage.md)."
    )
    not_by_user: bool = Field(default=False, description="Leave out pages that the user wrote.")
    reason_together: int = Field(
        default=16,
        ge=1,
        le=256,
        description="Examples that the backbone reasons about together: quicker; in bfloat16 the rounding differs from one at a time.",
    )

    def counted(self) -> dict[str, Any]:
        """The settings that tell one retrieval from another: not the crowd, nor the form of the scoring prompt, nor where results are kept, nor a decoder that is not asked."""
        unasked = set(DecoderConfig.model_fields) if self.decoder_url is None else set()
        return self.model_dump(
            mode="json", exclude={*ReuseConfig.model_fields, *CrowdConfig.model_fields, "prompt_form", *unasked}
        )
