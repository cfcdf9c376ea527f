"""The settings that asking obeys, as any object may hold them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class RecordSettings(Protocol):
    """What is recorded, and what of it counts: fields of `LimitsConfig` (`webrec.tools.config`)."""

    @property
    def search_store(self) -> str | None:
        """The store's file; None for the one in the cache folder."""

    @property
    def search_replay(self) -> bool:
        """Read the record only."""

    @property
    def search_max_age_days(self) -> float | None:
        """Age from which a record is asked for again; None for never."""


class AskSettings(RecordSettings, Protocol):
    """Fields of `SearchConfig` and `LimitsConfig`."""

    @property
    def search_seconds(self) -> float:
        """Longest wait for an answer, retries included; our own limits come on top."""

    @property
    def search_attempts(self) -> int:
        """Most calls for one answer."""

    @property
    def attempt_seconds(self) -> float:
        """Longest wait for one call."""

    @property
    def search_concurrency(self) -> int:
        """Most calls to one provider at a time, in each process."""

    @property
    def search_rate(self) -> Mapping[str, float]:
        """Most calls a second, by provider."""

    @property
    def max_search_calls(self) -> int | None:
        """Most calls to each provider in a period."""

    @property
    def search_price(self) -> Mapping[str, float]:
        """Price of a cost unit, by provider."""

    @property
    def max_search_spend(self) -> float | None:
        """Most money in a period, over all providers."""

    @property
    def search_period(self) -> str:
        """day, month or forever."""
