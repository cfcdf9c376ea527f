"""What is left out of a data set before it is split, and how much that is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from webrec.errors import InputError
from webrec.eval.data.dataset import Dataset


@dataclass(frozen=True, slots=True)
class Filtered:
    """What `filter_dataset` removed."""

    untitled_items: int
    untitled_interactions: int
    users: int
    items: int
    interactions: int
    rounds: int


def filter_dataset(dataset: Dataset, min_interactions: int) -> tuple[Dataset, Filtered]:
    """Leave out items without a title, then users and items with fewer than `min_interactions`, until none is left.

    The last three counts include what the first step removed; at `min_interactions` 0 items that nobody took stay. Raises
    `InputError` if nothing remains, saying whether titles or `min_interactions` are the cause.
    """
    titled = {item_id: item for item_id, item in dataset.items.items() if item.title}
    users = {user: tuple(t for t in taken if t.item_id in titled) for user, taken in dataset.users.items()}
    untitled = dataset.interactions() - sum(map(len, users.values()))
    without = f"{len(dataset.items) - len(titled):,} of {len(dataset.items):,} items"
    if untitled and untitled == dataset.interactions():
        raise InputError(
            f"title: {without} of {dataset.name} have none, all that users took among them; give each item its title "
            "(in items.jsonl the field is called title, a release has them in its metadata)"
        )
    kept, rounds = set(titled), 0
    while True:
        before = sum(map(len, users.values()))
        users = {user: taken for user, taken in users.items() if len(taken) >= max(1, min_interactions)}
        counts = Counter(t.item_id for taken in users.values() for t in taken)
        kept = {item_id for item_id in kept if counts[item_id] >= min_interactions}
        users = {user: tuple(t for t in taken if t.item_id in kept) for user, taken in users.items()}
        rounds += 1
        if sum(map(len, users.values())) == before:
            break
    if not any(users.values()):
        also, fix = (f" and {without} have no title", ", or add titles") if untitled else ("", "")
        raise InputError(
            f"min_interactions: nobody in {dataset.name} is left when users and items need {min_interactions}{also}; "
            f"lower it{fix}"
        )
    result = Dataset(dataset.name, users, {item_id: titled[item_id] for item_id in titled if item_id in kept})
    return result, Filtered(
        untitled_items=len(dataset.items) - len(titled),
        untitled_interactions=untitled,
        users=len(dataset.users) - len(result.users),
        items=len(dataset.items) - len(result.items),
        interactions=dataset.interactions() - result.interactions(),
        rounds=rounds,
    )
