"""What goes in and what comes out: the published schema of the graph, the tools and the JSON output."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

LeftOutReason = Literal["same_user", "not_before", "undated", "aggregate", "near_duplicate", "flagged"]
RetrievalState = Literal["off", "no_keywords", "no_pages", "left_out", "found"]

MAX_TITLE = 1_000
MAX_HISTORY = 200
MAX_CANDIDATES = 1_000


class RecommendInput(BaseModel):
    """One user: what they took, and what they may be recommended."""

    model_config = ConfigDict(extra="forbid")

    history: list[str] = Field(
        description="Titles of the items the user took, oldest first. The last ones count (setting history_items).",
        min_length=1,
        max_length=MAX_HISTORY,
        examples=[["Alien (1979)", "Blade Runner (1982)"]],
    )
    candidates: list[str] = Field(
        description="Distinct titles to rank, e.g. 20. All of them come back, best first.",
        min_length=1,
        max_length=MAX_CANDIDATES,
        examples=[["The Thing (1982)", "Amélie (2001)"]],
    )


class TokenEvidence(BaseModel):
    """One token that the backbone wrote, with the numbers of Eq. 1-5."""

    id: int = Field(description="Token id.")
    start: int = Field(description="First character of the reasoning text that the token covers.")
    end: int = Field(description="One past the last character.")
    entropy: float = Field(
        description="Ignorance: entropy in nats of the distribution that produced the token (Eq. 3)."
    )
    attention: float | None = Field(
        default=None, description="Influence: most attention any later token pays to it (Eq. 2)."
    )
    score: float | None = Field(default=None, description="attention × entropy (Eq. 4).")
    pooled: float | None = Field(default=None, description="Score averaged over the pooling window (Eq. 5).")
    word: str | None = Field(
        default=None, description="The word the token belongs to, if any; several if it covers parts of several."
    )
    keyword: bool = Field(default=False, description="Whether a word it belongs to was picked.")


class Reasoning(BaseModel):
    """What the backbone wrote about the user."""

    text: str = Field(description="The text, as written.")
    stop: Literal["end", "limit", "repetition"] = Field(description="Why writing stopped.")
    tokens: list[TokenEvidence] = Field(description="Every token, in order.")
    stop_list: str | None = Field(
        default=None, description="Language of the stop list used, 'none: LANGUAGE' where there is none."
    )
    decoder: str | None = Field(
        default=None, description="Address of the external decoder that wrote it, if the backbone did not."
    )
    agreement: float | None = Field(
        default=None,
        description="Share of an external decoder's tokens that the backbone would have written there itself.",
    )


class SearchOutcome(BaseModel):
    """One provider's answer."""

    provider: str = Field(description="Name of the provider.")
    query: str = Field(description="The query as sent (cut where the provider limits its length).")
    found: int = Field(description="Pages returned.")
    error: str | None = Field(default=None, description="Why the provider gave nothing, if it failed.")
    attempts: int = Field(default=0, description="Calls sent for this answer; 0 for a recorded one.")
    waited: float = Field(
        default=0.0,
        description="Seconds waited for own limits, between attempts, or for another process that asked the same.",
    )
    cost_units: float = Field(default=0.0, description="What the calls cost, in the provider's own units.")
    possibly_billed: int = Field(default=0, description="Calls whose answer was lost: they may have been billed.")
    recorded: str | None = Field(default=None, description="When the answer was recorded (UTC), if it was.")
    from_record: bool = Field(default=False, description="Whether it came from the record, and nothing was sent.")


class PageEvidence(BaseModel):
    """A page that was found, and how much of it the backbone read."""

    title: str = Field(description="Title, cleaned.")
    url: str = Field(description="Address, or empty.")
    snippet: str = Field(description="The page's text as the provider returned it, cleaned.")
    provider: str = Field(description="Who found it.")
    score: float | None = Field(description="The provider's score, if it gives one.")
    time: str = Field(description="When it was published, as the provider says.")
    authors: tuple[str, ...] = Field(default=(), description="Who wrote it, as its source says.")
    rank: int = Field(description="Place in the prompt, from 1.")
    found_rank: int = Field(description="Place in the provider's own ranking, from 1.")
    similarity: float | None = Field(default=None, description="Cosine similarity to the query, if re-ranked.")
    flags: list[str] = Field(
        default_factory=list,
        description="Kinds of instruction-like passages found in title or text (docs/hostile-pages.md).",
    )
    text: str = Field(default="", description="Main text of the page, if it was fetched; read in place of the snippet.")
    fetched: str | None = Field(
        default=None,
        description="What came of fetching the page: 'fetched', or why only its snippet is read; none if it was not tried.",
    )
    kept: int = Field(default=0, description="Characters of text or snippet that reached the prompt.")

    @property
    def body(self) -> str:
        """What is read of the page."""
        return self.text or self.snippet


class LeftOutPage(BaseModel):
    """A page that was found and not read."""

    title: str = Field(description="Title, cleaned.")
    url: str = Field(description="Address, or empty.")
    provider: str = Field(description="Who found it.")
    found_rank: int = Field(description="Place in the provider's own ranking, from 1.")
    reason: LeftOutReason = Field(
        description="same_user, not_before, undated, aggregate: the leakage rules (pages_not_by, pages_before, undated_pages, "
        "crawl_aggregates); near_duplicate: nearly repeats a better-placed page; flagged: reads like instructions (drop_flagged)."
    )


class PromptEvidence(BaseModel):
    """The prompt that the candidates were scored against."""

    text: str = Field(description="The user turn, before the chat template.")
    tokens: int = Field(description="Its length in tokens, chat template included.")
    limit: int = Field(description="Most tokens that prompt and answer may have.")
    history_used: int = Field(description="How many of the user's last items it holds.")
    pages_shortened: int = Field(description="Pages whose text was cut to fit.")
    pages_dropped: int = Field(description="Pages left out since not even their titles fitted.")


class RankedCandidate(BaseModel):
    """A candidate with its scores."""

    rank: int = Field(description="1 is best. Equal scores keep the order of the prompt.")
    index: int = Field(description="Place in the input's list of candidates, from 0.")
    title: str = Field(description="The title as given.")
    score: float = Field(
        description="What the ranking is by without a crowd: mean, sum, or sum less anyones (setting score_by)."
    )
    mean: float = Field(description="Mean log-likelihood per title token, in nats.")
    sum: float = Field(description="Log-likelihood of the whole title, in nats.")
    tokens: int = Field(description="Title length in tokens.")
    anyones: float | None = Field(
        default=None,
        description="Log-likelihood of the title for a user of whom nothing is known, in nats; none unless score_by is pmi.",
    )
    crowd: float | None = Field(
        default=None,
        description="Log-odds in nats that the crowd gives it, against the mean of the candidates that the crowd knows; none "
        "without a crowd, or where the crowd neither knows the candidate nor reads its title.",
    )
    fused: float | None = Field(
        default=None,
        description="With a crowd what the ranking is by: score + crowd_weight · crowd; what has no crowd keeps its score.",
    )
    probability: float = Field(description="Softmax over the candidates of what the ranking is by.")


class CrowdEvidence(BaseModel):
    """What was known of what other users took."""

    users: int = Field(description="Users whose sequences were counted.")
    items: int = Field(description="Items that it knows.")
    history_known: int = Field(description="Items of the history that it knows.")
    candidates_known: int = Field(description="Candidates that it knows.")
    candidates_read: int = Field(
        default=0, description="Candidates that it does not know and judged by their titles; what is left has no crowd."
    )


class AdapterEvidence(BaseModel):
    """What was trained on top of the backbone that scored."""

    name: str = Field(description="As configured.")
    tuning: str = Field(description="What is fine-tuned: a LoRA or a soft prompt, and its size.")
    sha256: str = Field(description="Hash of its weights.")


class BackboneEvidence(BaseModel):
    """Which model answered."""

    name: str = Field(description="As configured.")
    source: str = Field(description="Where the weights came from.")
    dtype: str = Field(description="Number format it ran in.")
    device: str = Field(description="Where it ran.")
    adapter: AdapterEvidence | None = Field(default=None, description="The adapter it scored with, if any.")


class Recommendation(BaseModel):
    """The ranked list, with its evidence."""

    ranking: list[RankedCandidate] = Field(description="All candidates, best first.")
    retrieval: RetrievalState = Field(
        description="off: not asked for; no_keywords: the reasoning held no keyword, so nothing was searched; "
        "no_pages: the search found nothing; left_out: what it found may not be read (field left_out says why); found: pages are "
        "in the prompt."
    )
    query: str = Field(description="The web query, empty if there was none.")
    keywords: list[str] = Field(description="What the query is made of, in order.")
    reasoning: Reasoning | None = Field(description="What the backbone wrote, if it was asked to.")
    searches: list[SearchOutcome] = Field(description="Every provider asked.")
    pages: list[PageEvidence] = Field(description="The pages in the prompt, in its order.")
    left_out: list[LeftOutPage] = Field(
        default_factory=list, description="Pages that were found and not read, with the reason."
    )
    prompt: PromptEvidence = Field(description="What the candidates were scored against.")
    backbone: BackboneEvidence = Field(description="The model.")
    crowd: CrowdEvidence | None = Field(default=None, description="The crowd whose prior was added, if one was.")
    head: str = Field(description="The attention head beside the backbone; 'none' for the plain backbone.")
    settings: dict[str, object] = Field(description="Every setting of the run.")
    versions: dict[str, str] = Field(description="Versions of WebRec and of the libraries that computed this.")
    warnings: list[str] = Field(description="What did not go as asked, one sentence each.")
