"""How systems are asked."""

from __future__ import annotations

from webrec.eval.systems.system import answers

from .contract import EXAMPLES, Fixed, refuses


def test_no_system_is_shown_a_target() -> None:
    system = Fixed([[0.0] * 20] * 3)
    assert [a.scores for a in answers(system, EXAMPLES[:3])] == [(0.0,) * 20] * 3
    assert [e.target for e in system.shown] == ["", "", ""]
    assert [e.candidates for e in system.shown] == [e.candidates for e in EXAMPLES[:3]]


def test_what_is_no_answer() -> None:
    refuses([], "answered 0 of 1 examples")
    refuses([[0.0] * 19], "gave 19 scores for the 20 candidates of example u0#0")
    refuses([[0.0] * 19 + [float("nan")]], "no finite number for example u0#0")
    refuses([[0.0] * 19 + [float("inf")]], "no finite number")
