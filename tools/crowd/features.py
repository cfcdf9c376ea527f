"""What the crowd says of each candidate: one number for each kind of evidence, from records that hold neither target nor test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from webrec.tools.crowd.pairs import Floats, Ints, PairCounts, followed
from webrec.tools.crowd.records import Records
from webrec.tools.crowd.words import TitleWords

DAY = 86_400
DECAY = 0.7
"""Weight of a history item against the one after it."""
SMOOTHING = 2.0
"""Added to a history item's count before dividing by it: a pair seen once in one is weak evidence."""
RECENT_DAYS = (30, 180)

COUNTED = {
    "popularity": "ln(1 + times the candidate was taken).",
    "late_popularity": "ln(1 + times it was among the last two of a sequence).",
    "knn": "Sum over the history of the cosine between two items' sets of users.",
    "knn_recent": "The same, each older history item counting 0.7 of the next.",
    "near_1": "Sum over the history, with that decay, of pairs within 1 step, each divided by the history item's count + 2.",
    "near_3": "The same within 3 steps.",
    "near_10": "The same within 10 steps.",
    "near_30": "The same within 30 steps.",
    "pairs_5": "ln(1 + pairs with any history item within 5 steps).",
    "next_1": "As near_1, only pairs in which the candidate came after.",
    "next_5": "The same within 5 steps.",
    "before_5": "As next_5, the candidate before.",
    "last_next": "ln(1 + times it came right after the history's last item).",
    "last_near": "ln(1 + pairs with the last item within 3 steps).",
    "lift": "Largest over the history of pairs within 5 steps, divided by the root of the product of both items' counts, each and 1.",
}
TIMED = {
    "recent_30": "ln(1 + times it was taken in the 30 days before now).",
    "recent_180": "The same, 180 days.",
    "idle": "ln(1 + days since it was last taken before now); the longest known for what was not taken yet.",
}
DESCRIBED = {
    "title_mean": "Mean cosine of the title's words (TF-IDF) with the titles of the history.",
    "title_last": "The same with the last item's title.",
    "title_most": "The largest of these cosines.",
    "same_brand": "Share of the history that has its brand, older items counting less.",
    "same_category": "Mean share of categories in common (Jaccard), older items counting less.",
    "year": "Minus the distance in years to the history's mean year, older items counting less, by ln(1 + x).",
    "newness": "Its year, in decades; the mean year where it is unknown.",
}


class CrowdFeatures:
    """All features of candidates, given a history and, with times, the moment.

    Features for which the records hold nothing (no times, brands, categories or
    years) are left out; `names` says which there are. Equal input gives equal numbers, in whatever order the candidates stand.
    """

    def __init__(self, records: Records) -> None:
        coded = records.coded()
        items = records.count
        self.records = records
        self._count = records.taken().astype(np.float64)
        tail = [sequence[-2:] for sequence in coded]
        self._late = np.bincount(np.concatenate([*tail, np.zeros(0, np.int64)]), minlength=items).astype(np.float64)
        self._next = {steps: followed(coded, items, steps) for steps in (1, 3, 5, 10, 30)}
        self._previous = {steps: counts.transposed() for steps, counts in self._next.items()}
        self._takers = _takers(coded, items)
        self._users_items = [np.unique(sequence) for sequence in coded]
        self._root_takers = np.sqrt([max(1, len(users)) for users in self._takers])
        self._moments = _moments(records, coded, items)
        self._facts = [records.facts[item] for item in records.numbers]
        self._words = TitleWords([fact.title for fact in self._facts])
        years = [fact.year for fact in self._facts if fact.year is not None]
        self._mean_year = float(np.mean(years)) if years else None
        self._cached: tuple[tuple[int, ...], dict[str, Floats]] | None = None
        self._read: tuple[tuple[int, ...], Floats] | None = None
        left_out = set() if self._moments else set(TIMED)
        left_out |= {"same_brand"} if not any(fact.brand for fact in self._facts) else set()
        left_out |= {"same_category"} if not any(fact.categories for fact in self._facts) else set()
        left_out |= {"year", "newness"} if not years else set()
        self.names = tuple(name for name in (*COUNTED, *TIMED, *DESCRIBED) if name not in left_out)

    def of(self, history: Sequence[str], candidates: Sequence[str], now: int | None = None) -> Floats:
        """(candidates, `names`). Items without facts count as never taken. `now`: Unix seconds; None takes the latest time known."""
        past = self.records.of(history)
        places = np.array([self.records.numbers.get(item, -1) for item in candidates], np.int64)
        known = places >= 0
        at = np.where(known, places, 0)
        columns = {name: values[at] for name, values in self._of_history(past).items()}
        columns |= self._of_moment(at, now) | self._of_facts(past, at)
        columns["popularity"], columns["late_popularity"] = np.log1p(self._count[at]), np.log1p(self._late[at])
        table = np.stack([columns[name] for name in self.names], axis=1)
        return np.where(known[:, None], table, 0.0)

    def _of_history(self, past: Ints) -> dict[str, Floats]:
        """For every item; kept for the next call, since examples of one user follow one another."""
        key = tuple(past.tolist())
        if self._cached is not None and self._cached[0] == key:
            return self._cached[1]
        items = self.records.count
        distinct = list(dict.fromkeys(reversed(key)))  # the latest first, each once
        decayed = [DECAY**place for place in range(len(distinct))]
        rarity = [1 / (self._count[item] + SMOOTHING) for item in distinct]

        def summed(counts: Sequence[PairCounts], weights: Sequence[float]) -> Floats:
            total = np.zeros(items)
            for item, weight in zip(distinct, weights, strict=True):
                for each in counts:
                    each.add_row(item, weight, total)
            return total

        both = {steps: (self._next[steps], self._previous[steps]) for steps in self._next}
        shares = [weight * rare for weight, rare in zip(decayed, rarity, strict=True)]
        first = [float(place == 0) for place in range(len(distinct))]
        found = {
            "near_1": summed(both[1], shares),
            "near_3": summed(both[3], shares),
            "near_10": summed(both[10], shares),
            "near_30": summed(both[30], shares),
            "pairs_5": np.log1p(summed(both[5], [1.0] * len(distinct))),
            "next_1": summed([self._next[1]], shares),
            "next_5": summed([self._next[5]], shares),
            "before_5": summed([self._previous[5]], shares),
            "last_next": np.log1p(summed([self._next[1]], first)),
            "last_near": np.log1p(summed(both[3], first)),
            "knn": self._knn(distinct, [1.0] * len(distinct)),
            "knn_recent": self._knn(distinct, decayed),
            "lift": np.zeros(items),
        }
        for item in distinct:
            row = np.zeros(items)
            for each in both[5]:
                each.add_row(item, 1.0, row)
            np.maximum(found["lift"], row / np.sqrt((self._count[item] + 1) * (self._count + 1)), out=found["lift"])
        self._cached = key, found
        return found

    def _titles(self, past: Ints) -> Floats:
        """Of the history, kept as `_of_history` keeps its numbers; a column of nothing for an empty one."""
        key = tuple(past.tolist())
        if self._read is None or self._read[0] != key:
            self._read = key, self._words.columns(key) if key else np.zeros((self._words.size, 1))
        return self._read[1]

    def _knn(self, distinct: Sequence[int], weights: Sequence[float]) -> Floats:
        """Sum over the history of weight · |U_h and U_c| / sqrt(|U_h| |U_c|): first what each user counts, then over their items."""
        takers = [self._takers[item] for item in distinct]
        shares = [
            np.full(len(users), w / np.sqrt(max(1, len(users)))) for users, w in zip(takers, weights, strict=True)
        ]
        none = np.zeros(0)
        of_user = np.bincount(
            np.concatenate([*takers, none.astype(np.int64)]),
            np.concatenate([*shares, none]),
            minlength=len(self._users_items),
        )
        users = np.flatnonzero(of_user)
        own = [self._users_items[user] for user in users.tolist()]
        counts = np.repeat(of_user[users], [len(items) for items in own])
        total = np.bincount(np.concatenate([*own, none.astype(np.int64)]), counts, minlength=self.records.count)
        return total / self._root_takers

    def _of_moment(self, at: Ints, now: int | None) -> dict[str, Floats]:
        if self._moments is None:
            return {}
        moments, earliest, latest = self._moments
        moment = latest + 1 if now is None else now
        told: dict[str, list[float]] = {name: [] for name in TIMED}
        for item in at.tolist():
            times = moments[item]
            end = int(np.searchsorted(times, moment))  # strictly earlier ones
            for days in RECENT_DAYS:
                told[f"recent_{days}"].append(end - int(np.searchsorted(times, moment - days * DAY)))
            since = times[end - 1] if end else earliest
            told["idle"].append(max(0.0, float(moment - since)) / DAY)
        return {name: np.log1p(v) for name, v in told.items()}

    def _of_facts(self, past: Ints, at: Ints) -> dict[str, Floats]:
        weights = np.array([DECAY**place for place in range(len(past))])[::-1]
        weights = weights / weights.sum() if len(past) else weights
        own = [self._facts[item] for item in past.tolist()]
        theirs = [self._facts[item] for item in at.tolist()]
        titles = self._titles(past)
        cosines = np.array([self._words.cosines(titles, item) for item in at.tolist()])
        found = {
            "title_mean": cosines.mean(1),
            "title_last": cosines[:, -1],
            "title_most": cosines.max(1),
            "same_brand": np.array(
                [sum(w for w, o in zip(weights, own, strict=True) if o.brand and o.brand == t.brand) for t in theirs]
            ),
            "same_category": np.array(
                [
                    sum(w * _jaccard(o.categories, t.categories) for w, o in zip(weights, own, strict=True))
                    for t in theirs
                ]
            ),
        }
        if (fallback := self._mean_year) is not None:
            dated = [(w, float(o.year)) for w, o in zip(weights, own, strict=True) if o.year is not None]
            total = sum(w for w, _ in dated)
            centre = sum(w * year for w, year in dated) / total if total else fallback
            years = np.array([fallback if t.year is None else float(t.year) for t in theirs])
            found |= {"year": -np.log1p(np.abs(years - centre)), "newness": years / 10}
        return found


def _takers(coded: Sequence[Ints], items: int) -> list[Ints]:
    users = np.concatenate([*(np.full(len(np.unique(s)), u) for u, s in enumerate(coded)), np.zeros(0, np.int64)])
    taken = np.concatenate([*(np.unique(s) for s in coded), np.zeros(0, np.int64)]).astype(np.int64)
    order = np.argsort(taken, kind="stable")
    cuts = np.searchsorted(taken[order], np.arange(1, items))
    return [part.astype(np.int64) for part in np.split(users[order], cuts)]


def _moments(records: Records, coded: Sequence[Ints], items: int) -> tuple[list[Ints], int, int] | None:
    """The times at which each item was taken, sorted, and the first and the last of all; None without times."""
    if not records.times:
        return None
    own: list[list[int]] = [[] for _ in range(items)]
    for sequence, times in zip(records.sequences, records.times, strict=True):
        for item, time in zip(sequence, times, strict=True):
            if item in records.numbers:
                own[records.numbers[item]].append(time)
    every = [time for times in own for time in times]
    if not every:
        return None
    return [np.array(sorted(times), np.int64) for times in own], min(every), max(every)


def _jaccard(a: Sequence[str], b: Sequence[str]) -> float:
    union = len({*a, *b})
    return len({*a} & {*b}) / union if union else 0.0
