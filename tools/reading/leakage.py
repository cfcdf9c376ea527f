"""The leakage guard: which pages an evaluation may let the model read (docs/leakage.md)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol, TypeVar

from webrec.errors import ConfigurationError
from webrec.tools.config import LeakageConfig
from webrec.tools.reading.aggregates import aggregates
from webrec.tools.reading.dates import parse_period
from webrec.tools.text_safety import normalised

Verdict = Literal["ok", "same_user", "not_before", "undated", "aggregate"]


class GuardedPage(Protocol):
    """What the guard reads of a page."""

    @property
    def title(self) -> str:
        """The page's title."""

    @property
    def body(self) -> str:
        """What of the page would be read."""

    @property
    def time(self) -> str:
        """When it was published, as its source says; may be empty."""

    @property
    def authors(self) -> tuple[str, ...]:
        """Ids of those who wrote it, as its source says; may be empty."""


PageT = TypeVar("PageT", bound=GuardedPage)


@dataclass(frozen=True)
class LeakageRules:
    """What a page must be to be used for one example.

    `user`: the example's user, whose own pages are left out; None for no such rule. `before`: the time of the target, with
    a zone; None for no such rule. `undated`: what becomes of pages without a readable date if there is a `before`.
    `aggregates`: what becomes of pages that hold figures over everybody, as a later crawl found them.
    """

    user: str | None
    before: datetime | None
    undated: Literal["admit", "exclude"] = "exclude"
    aggregates: Literal["admit", "exclude"] = "exclude"

    def __post_init__(self) -> None:
        if self.before is not None and self.before.tzinfo is None:
            raise ConfigurationError("before: the time has no zone; give one, for instance UTC")

    @classmethod
    def of(cls, config: LeakageConfig) -> LeakageRules:
        """The rules that settings state; of a day, month or year in `pages_before` the beginning counts (UTC).

        Raises `ConfigurationError` for a `pages_before` that is no date.
        """
        before = None
        if config.pages_before is not None:
            period = parse_period(config.pages_before)
            if period is None:
                raise ConfigurationError("pages_before: not a date; write it like 2014-03-01 or 2014-03-01T12:00:00Z")
            before = period.first
        kept: Literal["admit", "exclude"] = "admit" if config.crawl_aggregates else "exclude"
        return cls(config.pages_not_by, before, config.undated_pages, kept)


@dataclass(frozen=True)
class Counts:
    """What became of the pages of one example. `undated_admitted` and `unsigned_admitted` are part of `admitted`.

    `unsigned_admitted`: pages that name no author, admitted although a user was to be left out: the guard cannot know.
    """

    admitted: int = 0
    undated_admitted: int = 0
    unsigned_admitted: int = 0
    same_user: int = 0
    not_before: int = 0
    undated: int = 0
    aggregate: int = 0

    @property
    def excluded(self) -> int:
        """Pages that may not be used, for whatever reason."""
        return self.same_user + self.not_before + self.undated + self.aggregate


def judge(page: GuardedPage, rules: LeakageRules) -> Verdict:
    """Whether the page may be used, or the first reason why not.

    A page counts as before the target only if all of the time that its date leaves open is: one of the same day as a target
    of which the day is known is not. Users are compared without case and invisible characters.
    """
    if rules.user is not None and normalised(rules.user) in map(normalised, page.authors):
        return "same_user"
    if rules.before is not None:
        period = parse_period(page.time)
        if period is None:
            if rules.undated == "exclude":
                return "undated"
        elif period.end > rules.before:
            return "not_before"
    if rules.aggregates == "exclude" and (aggregates(page.title) or aggregates(page.body)):
        return "aggregate"
    return "ok"


def admit(pages: Iterable[PageT], rules: LeakageRules) -> tuple[list[PageT], Counts]:
    """The pages that may be used, in their order, and what became of all."""
    admitted: list[PageT] = []
    counts = dict.fromkeys(("same_user", "not_before", "undated", "aggregate"), 0)
    undated = unsigned = 0
    for page in pages:
        verdict = judge(page, rules)
        if verdict != "ok":
            counts[verdict] += 1
            continue
        admitted.append(page)
        undated += rules.before is not None and parse_period(page.time) is None
        unsigned += rules.user is not None and not page.authors
    return admitted, Counts(len(admitted), undated, unsigned, **counts)
