"""What a provider may still be asked: the settings of one run, for one provider."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from webrec.errors import ConfigurationError
from webrec.tools.searching.settings import AskSettings


@dataclass(frozen=True)
class Limits:
    """The limits of one provider."""

    gap: float
    """Least seconds between two calls; 0 for no limit."""
    max_calls: int | None
    max_spend: float | None
    price: float
    """What one cost unit costs."""
    period: str

    @classmethod
    def of(cls, settings: AskSettings, provider: str, cost_units: float) -> Limits:
        """Raises `ConfigurationError` if spending is capped and the provider's price is unknown, or its rate is 0."""
        rate = settings.search_rate.get(provider)
        if rate == 0:
            raise ConfigurationError(
                f"search_rate: {provider}=0 allows no call; raise it, or set max_search_calls to 0"
            )
        price = settings.search_price.get(provider)
        if settings.max_search_spend is not None and cost_units > 0 and price is None:
            raise ConfigurationError(
                f"search_price: max_search_spend needs the price of {provider}; give {provider}=PRICE for one cost unit"
            )
        return cls(
            gap=1 / rate if rate else 0.0,
            max_calls=settings.max_search_calls,
            max_spend=settings.max_search_spend,
            price=price or 0.0,
            period=settings.search_period,
        )


def day_of(now: float) -> str:
    """The UTC day of a Unix time, ISO 8601."""
    return datetime.fromtimestamp(now, UTC).date().isoformat()


def first_day(period: str, now: float) -> str:
    """The first UTC day of the period that `now` is in; the empty text, which is before all, for `forever`."""
    today = day_of(now)
    return {"day": today, "month": today[:8] + "01", "forever": ""}[period]


def period_end(period: str, now: float) -> str:
    """When the period ends, in words."""
    if period == "forever":
        return "the period never ends"
    day = datetime.fromtimestamp(now, UTC).date()
    first_of_next = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    end = day + timedelta(days=1) if period == "day" else first_of_next
    return f"the {period} ends at {end.isoformat()} 00:00 UTC"
