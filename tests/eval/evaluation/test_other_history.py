"""Another user's history for everybody's candidates."""

from __future__ import annotations

from dataclasses import replace

import pytest

from webrec.errors import ConfigurationError
from webrec.eval.data.dataset import RankingExample
from webrec.eval.evaluation.other_history import with_other_histories


def examples(users: int, draws: int = 2) -> list[RankingExample]:
    return [
        RankingExample(f"u{u}#{d}", f"u{u}", d, (f"h{u}", "h"), ("a", "b"), "a", time=u)
        for u in range(users)
        for d in range(draws)
    ]


@pytest.mark.parametrize("users", [2, 3, 7, 20])
def test_everybody_has_the_history_of_one_other(users: int) -> None:
    asked = examples(users)
    given = with_other_histories(asked)
    assert [replace(new, history=old.history) for new, old in zip(given, asked, strict=True)] == asked
    assert all(new.history != old.history for new, old in zip(given, asked, strict=True))
    by_user = {example.user: example.history for example in given}
    assert len(set(by_user.values())) == users, "each history is used once"
    assert all(example.history == by_user[example.user] for example in given)
    assert with_other_histories(asked[::-1])[::-1] == given


def test_candidates_are_no_part_of_it() -> None:
    asked = [replace(examples(2, 1)[0], candidates=("h1", "b")), *examples(2, 1)[1:]]
    assert [example.history for example in with_other_histories(asked)] == [("h",), ("h0", "h")]
    alone = [replace(asked[0], candidates=("h1", "h")), asked[1]]
    assert with_other_histories(alone)[0].history == ("h1", "h"), "an empty history would be no question"


def test_of_one_user_there_is_no_other() -> None:
    with pytest.raises(ConfigurationError, match="history: there is one user"):
        with_other_histories(examples(1))
