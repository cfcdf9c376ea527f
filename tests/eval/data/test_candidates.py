"""Candidates: what they must be, that order and popularity say nothing of the target, and the check that catches it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from webrec.errors import InputError
from webrec.eval.data.candidates import SAMPLINGS, CandidateSampler, Sampling, check_matching, matching
from webrec.eval.data.dataset import Dataset
from webrec.eval.data.splitting import Case, Split, leave_one_out
from webrec.tools.text_safety import normalised

from ...worlds import dataset, skewed  # noqa: TID252

DATA = skewed()
SPLIT = leave_one_out(DATA)


def sampler(data: Dataset = DATA, split: Split = SPLIT, **settings: Any) -> CandidateSampler:
    taken = {user: frozenset(t.item_id for t in own) for user, own in data.users.items()}
    return CandidateSampler(
        split.training, taken, **{"candidates": 20, "draws": 5, "seed": 0, "window": 20, **settings}
    )


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_what_candidates_are(sampling: Sampling) -> None:
    drawer = sampler()
    assert sum(len(set(map(frozenset, drawer.draw(case, sampling)))) == 5 for case in SPLIT.test[:60]) > 50
    for case in SPLIT.test[:60]:
        sets = drawer.draw(case, sampling)
        assert len(sets) == 5
        for candidates in sets:
            assert len(candidates) == len(set(candidates)) == 20
            assert candidates.count(case.target.item_id) == 1
            others = set(candidates) - {case.target.item_id}
            assert not others & {t.item_id for t in DATA.users[case.user]}


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_titles_are_distinct_and_not_in_the_history(sampling: Sampling) -> None:
    titles = {f"i{n}": f"Thing {n // 2}" + (" " if n % 2 else "\u200b") for n in range(1000)}  # pairs that look alike
    data = Dataset("pairs", DATA.users, dataset({}, titles).items)
    split = leave_one_out(data)
    drawer = sampler(data, split)
    for case in split.test[:60]:
        past = {normalised(data.items[t.item_id].title) for t in case.past}
        for candidates in drawer.draw(case, sampling):
            own = [normalised(data.items[i].title) for i in candidates]
            assert len(set(own)) == 20
            assert not past & set(own)
    assert drawer.redrawn[sampling] > 0


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_a_draw_depends_on_seed_user_and_number_alone(sampling: Sampling) -> None:
    whole = [sampler().draw(case, sampling) for case in SPLIT.test[:10]]
    one = sampler()
    assert [one.draw(case, sampling) for case in reversed(SPLIT.test[:10])] == whole[::-1]
    assert [sampler(seed=1).draw(case, sampling) for case in SPLIT.test[:10]] != whole
    if sampling == "uniform":  # those of matched share the window out among them
        assert [sampler(draws=3).draw(case, sampling) for case in SPLIT.test[:10]] == [sets[:3] for sets in whole]


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_another_part_and_another_case_have_negatives_of_their_own(sampling: Sampling) -> None:
    def negatives(part: str, cut: int) -> list[set[str]]:
        cases = [Case(case.user, case.past[:cut], case.past[cut]) for case in SPLIT.test[:60]]
        drawer = sampler(part=part)
        return [set(drawer.draw(case, sampling)[0]) - {case.target.item_id} for case in cases]

    def shared(one: list[set[str]], other: list[set[str]]) -> float:
        return float(np.mean([len(a & b) / 19 for a, b in zip(one, other, strict=True)]))

    test = negatives("test", 6)
    assert shared(test, negatives("test", 6)) == 1
    # Of 1,000 items 19 are 2 %; two windows of 20 that lie over one another share some more.
    most = 0.06 if sampling == "uniform" else 0.2
    for other in (negatives("validation", 6), negatives("tuning", 6)):
        assert shared(test, other) < (0.06 if sampling == "uniform" else 0.96)
    assert shared(negatives("tuning", 5), negatives("tuning", 6)) < most
    assert shared(test, negatives("validation", 5)) < most


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_the_order_says_nothing_of_the_target(sampling: Sampling) -> None:
    drawer = sampler()
    places = [
        candidates.index(case.target.item_id) for case in SPLIT.test for candidates in drawer.draw(case, sampling)
    ]
    # 2,000 places over 20: the mean's standard error is 0.13.
    assert abs(np.mean(places) - 9.5) < 0.6
    assert max(Counter(places).values()) < 160


def test_uniform_is_uniform() -> None:
    drawer = sampler(draws=20)
    drawn = Counter(item for case in SPLIT.test for candidates in drawer.draw(case, "uniform") for item in candidates)
    expected = sum(drawn.values()) / 1000
    rare = [i for i in DATA.items if SPLIT.training.counts.get(i, 0) <= 1]
    assert np.mean([drawn[i] for i in rare]) == pytest.approx(expected, rel=0.1)


def test_matched_sets_tell_popularity_nothing_and_uniform_ones_do() -> None:
    drawer = sampler()
    matched = [drawer.draw(case, "matched") for case in SPLIT.test]
    found = check_matching(SPLIT.training, SPLIT.test, matched)
    assert abs(found["popularity hr@10"] - 0.5) < 0.02
    assert abs(found["inverse popularity ndcg@10"] - 0.227) < 0.02
    uniform = [drawer.draw(case, "uniform") for case in SPLIT.test]
    with pytest.raises(InputError, match=r"window: on the matched candidates popularity hr@10 is .* lower window"):
        check_matching(SPLIT.training, SPLIT.test, uniform)


def test_too_wide_a_window_is_found_out() -> None:
    drawer = sampler(window=250)
    with pytest.raises(InputError, match="lower window"):
        check_matching(SPLIT.training, SPLIT.test, [drawer.draw(case, "matched") for case in SPLIT.test])


def test_a_window_that_cannot_be_lower() -> None:
    sets = [sampler().draw(case, "uniform") for case in SPLIT.test]
    with pytest.raises(InputError, match=r"window: .*; lower window, or leave out matched"):
        check_matching(SPLIT.training, SPLIT.test, sets, window=30)
    with pytest.raises(
        InputError, match=r"^candidates: .* \(20\); lower candidates, or set samplings to uniform alone$"
    ):
        check_matching(SPLIT.training, SPLIT.test, sets, window=20)


def test_ties_are_broken_at_random_in_the_check() -> None:
    """Expected values against the mean over many random orders."""
    drawer = sampler()
    cases = SPLIT.test[:50]
    sets = [drawer.draw(case, "uniform") for case in cases]
    found = matching(SPLIT.training, cases, sets)
    generator = np.random.default_rng(0)
    hits = []
    for _ in range(200):
        for case, draws in zip(cases, sets, strict=True):
            for candidates in draws:
                keys = {i: (-SPLIT.training.counts.get(i, 0), generator.random()) for i in candidates}
                hits.append(sorted(candidates, key=lambda i: keys[i]).index(case.target.item_id) < 10)
    assert found["popularity hr@10"] == pytest.approx(np.mean(hits), abs=0.01)
    assert found["chance hr@10"] == 0.5


def test_too_few_items() -> None:
    small = dataset({f"u{n}": ["a", "b", "c", "d"][n % 2 :] for n in range(4)}, {f"x{n}": f"X {n}" for n in range(10)})
    with pytest.raises(InputError, match="candidates: 20 are asked for and there are 14 items"):
        sampler(small, leave_one_out(small))
    some = sampler(small, leave_one_out(small), candidates=13, window=13)
    for sampling in SAMPLINGS:
        with pytest.raises(InputError, match="candidates: 11 of 13 are found for user u0, who took 4 of 14 items"):
            some.draw(leave_one_out(small).test[0], sampling)
    with pytest.raises(InputError, match="window: it must be at least candidates"):
        sampler(window=10)


def test_covered_candidates_have_pages_as_the_target_has() -> None:
    world = skewed(users=60)
    training = leave_one_out(world).training
    covered = frozenset(i for i in world.items if int(i[1:]) % 3 == 0)
    taken = {user: frozenset(t.item_id for t in rows) for user, rows in world.users.items()}
    drawer = CandidateSampler(training, taken, 20, 2, 0, 50, covered)
    kinds = set()
    for case in leave_one_out(world).test:
        told = case.target.item_id in covered
        kinds.add(told)
        for candidates in drawer.draw(case, "covered"):
            assert {i in covered for i in candidates} == {told}
        assert any({i in covered for i in c} == {True, False} for c in drawer.draw(case, "matched"))
    assert kinds == {True, False}
