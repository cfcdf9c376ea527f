"""What there is to know of a data set before anything is measured on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

from webrec.errors import InputError
from webrec.eval.data.dataset import Dataset, RankingExample
from webrec.eval.data.filtering import filter_dataset
from webrec.tools.text_safety import normalised

PAPER_TABLE_1: Mapping[str, tuple[int, int, int]] = {
    "Beauty": (9_930, 6_141, 63_953),
    "Toys": (30_831, 61_081, 282_213),
    "Video Games": (64_073, 33_614, 598_509),
    "Movies and TV": (297_498, 59_944, 3_409_147),
}
"""Users, items, interactions as the paper prints them."""
_DAY = 86_400


class Audit(BaseModel):
    """Counts of a data set; shares are between 0 and 1, None where they cannot be known."""

    model_config = ConfigDict(frozen=True)

    users: int = Field(description="Users with an interaction.")
    items: int = Field(description="Items that somebody took.")
    interactions: int = Field(description="Interactions.")
    core_users: int = Field(description="Users left by the filter.")
    core_items: int = Field(description="Items left by the filter.")
    core_interactions: int = Field(description="Interactions left by the filter.")
    short_users: int = Field(description="Users with fewer than three items, of whom no example can be made.")
    untitled_items: int = Field(description="Items without a title.")
    shared_titles: int = Field(description="Titles (normalised) that several items have.")
    items_of_shared_titles: int = Field(description="Items that have such a title.")
    described_items: float = Field(description="Share of items with a description.")
    repeated: int = Field(description="Interactions with an item that the user took before.")
    timed: bool = Field(description="Whether interactions have times.")
    same_day: float | None = Field(description="Share of users whose last two items were taken on one day (UTC).")
    target_in_history: float = Field(
        description="Share of users whose last item, or one of its title, is in their history."
    )
    first: int | None = Field(description="Earliest time, Unix seconds.")
    last: int | None = Field(description="Latest time, Unix seconds.")


def audit(dataset: Dataset, min_interactions: int = 5) -> Audit:
    """Count. `min_interactions`: of the filter."""
    taken = Counter(t.item_id for rows in dataset.users.values() for t in rows)
    titles = Counter(key for i in taken if (key := normalised(dataset.items[i].title)))
    try:
        core, _ = filter_dataset(dataset, min_interactions)
    except InputError:  # nothing is left
        core = Dataset(dataset.name, {}, {})
    times = [t.time for rows in dataset.users.values() for t in rows if t.time is not None]
    several = [rows for rows in dataset.users.values() if len(rows) > 1]
    timed = [rows for rows in several if rows[-1].time is not None and rows[-2].time is not None]

    def known(item_id: str) -> str:
        return normalised(dataset.items[item_id].title) or item_id

    copied = sum(known(rows[-1].item_id) in {known(t.item_id) for t in rows[:-1]} for rows in several)
    return Audit(
        users=len(dataset.users),
        items=len(taken),
        interactions=dataset.interactions(),
        core_users=len(core.users),
        core_items=len(core.items),
        core_interactions=core.interactions(),
        short_users=sum(len(rows) < 3 for rows in dataset.users.values()),
        untitled_items=sum(not dataset.items[i].title for i in taken),
        shared_titles=sum(count > 1 for count in titles.values()),
        items_of_shared_titles=sum(count for count in titles.values() if count > 1),
        described_items=sum(bool(dataset.items[i].text) for i in taken) / max(1, len(taken)),
        repeated=sum(len(rows) - len({t.item_id for t in rows}) for rows in dataset.users.values()),
        timed=bool(times),
        same_day=sum(r[-1].time // _DAY == r[-2].time // _DAY for r in timed) / len(timed) if timed else None,  # type: ignore[operator]
        target_in_history=copied / max(1, len(several)),
        first=min(times) if times else None,
        last=max(times) if times else None,
    )


class Coverage(BaseModel):
    """Shares of targets and of the other candidates that a corpus has a page about."""

    model_config = ConfigDict(frozen=True)

    targets: float
    negatives: float


def coverage(examples: list[RankingExample], pages_of: Mapping[str, int]) -> Coverage:
    """Whether pages alone tell the target: then a gain from pages says nothing. Raises `ValueError` without examples."""
    if not examples:
        raise ValueError("coverage needs at least one example")
    negatives = [item for e in examples for item in e.candidates if item != e.target]
    return Coverage(
        targets=sum(e.target in pages_of for e in examples) / len(examples),
        negatives=sum(item in pages_of for item in negatives) / max(1, len(negatives)),
    )
