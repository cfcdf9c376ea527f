"""Turns: one at a time, the longest waiting first, and never lost."""

from __future__ import annotations

import threading
import time

import pytest

from webrec.models import turns as turns_module
from webrec.models.turns import Turns, turns_of


def test_one_at_a_time_and_first_come_first_served() -> None:
    turns = Turns()
    order: list[int] = []
    inside: list[int] = []

    def work(n: int) -> None:
        with turns.take():
            inside.append(n)
            assert inside == [n]
            order.append(n)
            time.sleep(0.002)
            inside.clear()

    threads = []
    with turns.take():
        for n in range(8):
            threads.append(threading.Thread(target=work, args=(n,)))
            threads[-1].start()
            while len(turns._waiting) < n + 2:
                time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert order == list(range(8))


def test_an_error_inside_passes_the_turn_on() -> None:
    turns = Turns()
    for _ in range(2):
        with pytest.raises(ValueError, match="wrong"), turns.take():
            raise ValueError("wrong")
    with turns.take():
        pass


def test_each_device_has_its_own() -> None:
    assert turns_of("cpu") is turns_of("cpu")
    assert turns_of("cpu") is not turns_of("cuda:0")


def test_free_memory_is_given_back_once_nobody_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    while earlier := [t for t in threading.enumerate() if isinstance(t, threading.Timer)]:  # of other turns
        earlier[0].join()
    given: list[float] = []
    monkeypatch.setattr(turns_module, "IDLE_SECONDS", 0.2)
    monkeypatch.setattr(turns_module, "give_back", lambda: given.append(time.monotonic()))
    monkeypatch.setattr(turns_module, "is_limited", lambda: True)
    turns = Turns()
    for round_ in range(2):
        for _ in range(5):
            with turns.take():
                time.sleep(0.05)
            assert len(given) == round_
        with turns.take():
            time.sleep(0.3)
            assert len(given) == round_  # never while somebody computes
            ended = time.monotonic()
        while len(given) == round_ and time.monotonic() < ended + 10:
            time.sleep(0.01)
        assert len(given) == round_ + 1
        assert given[-1] >= ended + 0.2
    time.sleep(0.3)
    assert len(given) == 2


def test_the_memory_of_a_process_that_did_not_ask_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns_module, "is_limited", lambda: False)
    turns = Turns()
    with turns.take():
        pass
    assert turns._timer is None
