"""Settings of searching, reading and re-ranking."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


def _split(value: Any) -> Any:
    """Also take one string with commas."""
    return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


def _pairs(value: Any) -> Any:
    """Also take `name=number,name=number`."""
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    return {name.strip(): number.strip() for name, _, number in pairs}


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
Numbers = Annotated[Mapping[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]], BeforeValidator(_pairs)]


class SearchConfig(BaseModel):
    """Where pages come from, how many are read, and how patiently they are asked for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    providers: Names = Field(
        default=("auto",),
        min_length=1,
        max_length=8,
        description="Search providers, asked side by side: tavily, brave, searxng, duckduckgo, local (needs pages_path), sample (a "
        "small fictional web for trying things out). auto: local if pages_path is set, else tavily or brave by the key that is "
        "set.",
        json_schema_extra={"examples": [["auto"], ["sample"], ["tavily", "brave"], ["local"]]},
    )
    fallback: Names = Field(
        default=(),
        max_length=8,
        description="Providers asked one after the other if all others failed. None by default: rows of one evaluation never mix "
        "providers unless this says so.",
    )
    pages_path: str | None = Field(
        default=None, description="Folder or JSONL file of pages for the local provider (.jsonl, .jsonl.gz, .txt, .md)."
    )
    searxng_url: str | None = Field(
        default=None, description="Address of a SearXNG instance that answers JSON, for the searxng provider."
    )
    pages: int = Field(default=10, ge=1, le=50, description="Pages that reach the prompt: N of the paper.")
    search_seconds: float = Field(
        default=20.0,
        gt=0,
        le=600,
        description="Longest wait for one provider's answer, retries included, in seconds. Waiting for our own limits comes on top.",
    )
    search_attempts: int = Field(
        default=3,
        ge=1,
        le=10,
        description="Most calls for one answer; only what may pass is tried again (429, 500, 502, 503, 504, timeouts, broken connections).",
    )
    attempt_seconds: float = Field(default=8.0, gt=0, le=600, description="Longest wait for one call, in seconds.")


class LimitsConfig(BaseModel):
    """What recorded providers may be asked, over all processes that share a search store."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    search_store: str | None = Field(
        default=None,
        description="File that holds recorded answers, limits and spending, shared by processes of one machine; by default in "
        "WebRec's cache folder.",
    )
    search_replay: bool = Field(
        default=False,
        description="Answer from recorded searches and pages only; nothing is sent, and what was not recorded is an error.",
    )
    search_max_age_days: float | None = Field(
        default=7.0, ge=0, description="Recorded answers older than this are asked for again; unset: they never expire."
    )
    search_rate: Numbers = Field(
        default_factory=dict,
        description="Most calls per second by provider, e.g. brave=1,tavily=10; a provider not named has no limit.",
        json_schema_extra={"examples": [{"brave": 1.0}]},
    )
    search_concurrency: int = Field(
        default=8, ge=1, le=100, description="Most calls to one provider at a time, in each process."
    )
    max_search_calls: int | None = Field(
        default=None,
        ge=0,
        description="Most calls to each provider in a period, repeated ones included; the next is refused before it is sent.",
    )
    search_price: Numbers = Field(
        default_factory=dict,
        description="What one cost unit of a provider costs, in your currency, e.g. tavily=0.008; needed for max_search_spend.",
        json_schema_extra={"examples": [{"tavily": 0.008}]},
    )
    max_search_spend: float | None = Field(
        default=None,
        ge=0,
        description="Most money spent in a period over all priced providers; the call that would exceed it is refused before it is sent.",
    )
    search_period: Literal["day", "month", "forever"] = Field(
        default="day",
        description="What max_search_calls and max_search_spend count over: day and month (in UTC), or forever.",
    )


class FetchConfig(BaseModel):
    """Whether the pages behind the results are downloaded."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fetch_pages: bool = Field(
        default=False,
        description="Download the pages behind the results and read their main text (extra: fetch); else the snippets are read.",
    )
    fetch_seconds: float = Field(
        default=10.0,
        gt=0,
        le=120,
        description="Longest wait for one page, redirects and robots.txt included, in seconds.",
    )
    fetch_bytes: int = Field(
        default=2_000_000,
        ge=1_000,
        le=50_000_000,
        description="Most bytes of one page, after decompression; longer ones are refused.",
    )
    fetch_concurrency: int = Field(
        default=8, ge=1, le=64, description="Most pages downloaded at a time, in each process."
    )


class ReadConfig(BaseModel):
    """How much of the pages is read, and what of it is left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    page_tokens: int | None = Field(
        default=None,
        ge=1,
        description="Most tokens of one page's text in the prompt, cut at a sentence end; unset: what fits.",
    )
    pages_tokens: int | None = Field(
        default=None, ge=1, description="Most tokens of all pages' texts in the prompt; unset: what fits."
    )
    near_duplicates: bool = Field(
        default=True, description="Leave out pages whose text nearly repeats a better-placed page's."
    )
    drop_flagged: bool = Field(
        default=False,
        description="Leave out pages that read like instructions to the model, and say so; else they are only flagged.",
    )


class LeakageConfig(BaseModel):
    """What an evaluation must not let the model read (`webrec.tools.reading.leakage`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pages_before: str | None = Field(
        default=None,
        description="Use only pages dated before this day or time (ISO 8601), e.g. that of the purchase to be predicted.",
        json_schema_extra={"examples": ["2014-03-01", "2014-03-01T12:00:00Z"]},
    )
    undated_pages: Literal["exclude", "admit"] = Field(
        default="exclude",
        description="With pages_before: whether pages without a readable date are used; they are counted.",
    )
    pages_not_by: str | None = Field(default=None, description="Leave out pages written by this user id.")
    crawl_aggregates: bool = Field(
        default=True,
        description="Use pages that hold figures of a later crawl (also bought, sales rank, average rating); off for evaluations "
        "on old data.",
    )


class RerankConfig(BaseModel):
    """Whether found pages are re-ranked by meaning before the best N are kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rerank: bool = Field(
        default=False,
        description="Re-rank found pages by FAISS over sentence embeddings (extra: rerank).",
    )
    rerank_by: Literal["query", "history", "both"] = Field(
        default="query", description="What pages are compared with: the query, the user's history, or the mean of both."
    )
    rerank_model: str = Field(
        default="minilm",
        description="Sentence encoder: minilm (from PyPI), or the name or folder of any model in the layout of "
        "sentence-transformers (extra: rerank).",
    )
    diversity: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Weight of being unlike the pages already chosen (maximal marginal relevance); 0: relevance alone.",
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


class CrowdConfig(BaseModel):
    """What other users took, as a prior on the scores (docs/crowd.md)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    crowd: str | None = Field(
        default=None,
        description="Folder made by webrec crowd: what other users took is added to the scores; unset leaves it out.",
    )
    crowd_weight: float = Field(
        default=0.4,
        ge=0,
        le=100,
        allow_inf_nan=False,
        description="Nats of score that one nat of the crowd's log-odds counts; 0.4 fits means (score_by mean) of an adapter "
        "trained with the default temperature, about 3 fits sum and pmi.",
    )
    crowd_reads_new: bool = Field(
        default=True,
        description="Whether a crowd made with --similarity reads titles that it does not know, by the small sentence encoder; off "
        "leaves them unknown.",
    )
