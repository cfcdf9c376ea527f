"""Settings of search and re-ranking."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class SearchConfig(BaseModel):
    """Where pages come from and how many are read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    providers: tuple[str, ...] = Field(
        default=("auto",),
        min_length=1,
        max_length=8,
        description="Search providers, asked side by side: tavily, brave, local (needs pages_path), sample (a small fictional "
        "web for trying things out). auto: local if pages_path is set, else tavily or brave by the key that is set.",
        json_schema_extra={"examples": [["auto"], ["sample"], ["tavily", "brave"], ["local"]]},
    )
    pages_path: str | None = Field(
        default=None, description="Folder or JSONL file of pages for the local provider (.jsonl, .jsonl.gz, .txt, .md)."
    )
    pages: int = Field(default=10, ge=1, le=50, description="Pages that reach the prompt: N of the paper.")
    search_seconds: float = Field(
        default=20.0, gt=0, le=600, description="Longest wait for one provider's answer, in seconds."
    )

    @field_validator("providers", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """Also take one string with commas."""
        return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


class RerankConfig(BaseModel):
    """Whether found pages are re-ranked by meaning before the best N are kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rerank: bool = Field(
        default=False,
        description="Re-rank found pages by FAISS over MiniLM sentence embeddings of the query (extra: rerank).",
    )
    rerank_pool: int = Field(
        default=30,
        ge=1,
        le=200,
        description="Pages fetched from each provider when re-ranking is on; the best N of them are kept.",
    )

    @model_validator(mode="after")
    def _pool_holds_pages(self) -> Self:
        pages = getattr(self, "pages", None)  # beside SearchConfig in the run context
        if self.rerank and pages is not None and self.rerank_pool < pages:
            raise ValueError(
                f"rerank_pool: {self.rerank_pool} is fewer than pages ({pages}); raise it to at least {pages}"
            )
        return self
