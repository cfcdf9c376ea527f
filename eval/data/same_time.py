"""What a user took at the same time: sources list it by item id, so that without care the id would tell which came last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from itertools import groupby

from webrec.eval.data.dataset import Dataset, Interaction


def shuffle_same_time(dataset: Dataset, seed: int) -> tuple[Dataset, int]:
    """The data set with what a user took at the same time in an order by hash, and how many interactions that concerns.

    The hash is of seed, user, item and place, so a user's order hangs on nothing of other users. Nothing else moves; where a time is
    unknown, the order is the source's.
    """
    moved, users = 0, {}
    for user, taken in dataset.users.items():
        users[user], own = _shuffled(taken, f"{seed}\0{user}")
        moved += own
    return replace(dataset, users=users), moved


def _shuffled(taken: Sequence[Interaction], name: str) -> tuple[tuple[Interaction, ...], int]:
    result: list[Interaction] = []
    moved = 0
    for time, same in groupby(enumerate(taken), key=lambda one: one[1].time):
        placed = list(same)
        if time is not None and len(placed) > 1:
            placed.sort(key=lambda one: blake2b(f"{name}\0{one[1].item_id}\0{one[0]}".encode(), digest_size=8).digest())
            moved += len(placed)
        result += (one for _, one in placed)
    return tuple(result), moved
