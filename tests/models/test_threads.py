"""Budgets of CPU threads: also for threads of the process that have computed before."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from webrec.models.threads import torch_threads
from webrec.models.turns import Turns


def test_a_thread_that_has_computed_follows_the_budget_at_its_next_turn() -> None:
    turns = Turns()

    def threads() -> int:
        with turns.take():
            return torch.get_num_threads()

    with torch_threads(3), ThreadPoolExecutor(1) as before, ThreadPoolExecutor(1) as inside:
        assert before.submit(threads).result() == 3
        with torch_threads(2):
            assert before.submit(threads).result() == inside.submit(threads).result() == 2
        assert before.submit(threads).result() == inside.submit(threads).result() == 3


def test_the_number_of_before_is_back_after_an_error() -> None:
    before = torch.get_num_threads()
    with pytest.raises(KeyError), torch_threads(before + 2):
        raise KeyError
    assert torch.get_num_threads() == before
    counted: list[int] = []

    def work() -> None:
        with Turns().take():
            counted.append(torch.get_num_threads())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert counted == [before]
