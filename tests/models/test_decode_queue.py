"""Texts that threads write at the same time against each written alone."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch

from webrec.errors import BusyError, RunCancelled
from webrec.models import decode_queue
from webrec.models.backbone import Backbone
from webrec.models.decode_queue import queue_of
from webrec.models.decode_step import DecodeStep, StepCache
from webrec.models.decoding import decode_greedily, decode_together
from webrec.models.recent_influence import RecentInfluence

TEXTS = [f"{n} " + "boots and gloves; " * n for n in range(7)]


@pytest.fixture
def exact(backbone: Backbone) -> Backbone:
    """In float64, so that no rounding decides between two tokens."""
    return replace(backbone, model=deepcopy(backbone.model).double(), recent=RecentInfluence())


@pytest.fixture
def widths(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of each step, which must fit."""
    seen: list[int] = []
    step = DecodeStep.__call__

    def counted(self: DecodeStep, ids: torch.Tensor, cache: StepCache, *others: Any) -> Any:
        seen.append(ids.shape[0])
        assert len(ids) == 1 or len(ids) * cache.held < decode_queue.MOST_CELLS
        return step(self, ids, cache, *others)

    monkeypatch.setattr(DecodeStep, "__call__", counted)
    return seen


def test_threads_get_what_they_get_alone(exact: Backbone, widths: list[int]) -> None:
    prompts = [exact.chat.encode_turn(text) for text in TEXTS]
    alone = [decode_greedily(exact, prompt, 10 + n) for n, prompt in enumerate(prompts)]
    assert set(widths) == {1}
    heard: list[list[int]] = [[] for _ in prompts]

    def write(n: int, apart: float) -> Any:
        time.sleep(apart * n)  # so that some join while others are under way, however quick the machine is
        return decode_greedily(exact, prompts[n], 10 + n, watched=(-1, "mean"), on_token=heard[n].append)

    for apart in (0.01, 0.001, 0.0):
        with ThreadPoolExecutor(len(prompts)) as pool:
            together = list(pool.map(write, range(len(prompts)), [apart] * len(prompts)))
        assert [d.ids for d in together] == [d.ids for d in alone]
    for n, decoded in enumerate(alone):
        assert heard[n] == decoded.ids * 3
    assert max(widths) > 1
    queue = queue_of(exact.model)
    assert (queue._rows, queue._cache, queue._leading) == ([], None, False)


def test_free_memory_is_given_back_once_after_a_large_cache(exact: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[bool] = []
    monkeypatch.setattr(decode_queue, "give_back", lambda: given.append(queue_of(exact.model)._cache is None))
    prompts = [exact.chat.encode_turn(text) for text in TEXTS]
    decode_together(exact, prompts, 5)
    assert given == []
    monkeypatch.setattr(decode_queue, "LARGE", 1)
    decode_together(exact, prompts, 5)
    assert given == [True]
    decode_together(exact, prompts, 1)  # no cache is shared for a single token
    assert given == [True]


def test_no_more_columns_than_allowed(exact: Backbone, widths: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = [exact.chat.encode_turn(text) for text in TEXTS]
    alone = [decode_greedily(exact, prompt, 15).ids for prompt in prompts]
    longest = max(map(len, prompts)) + 16
    monkeypatch.setattr(decode_queue, "MOST_CELLS", 2 * longest)
    widths.clear()
    assert [d.ids for d in decode_together(exact, prompts, 15)] == alone
    assert 1 < max(widths) < len(prompts)
    monkeypatch.setattr(decode_queue, "MOST_CELLS", 1)
    widths.clear()
    assert [d.ids for d in decode_together(exact, prompts, 15)] == alone
    assert max(widths) == 1


def test_one_that_is_cancelled_leaves_and_the_others_go_on(exact: Backbone) -> None:
    prompts = [exact.chat.encode_turn(text) for text in TEXTS[:3]]
    alone = [decode_greedily(exact, prompt, 40).ids for prompt in prompts]
    stop = threading.Event()

    def write(n: int) -> Any:
        def heard(_: int) -> None:
            seen.append(n)
            if n == 1 and seen.count(1) == 4:
                stop.set()

        try:
            return decode_greedily(exact, prompts[n], 40, on_token=heard, cancelled=lambda: n == 1 and stop.is_set())
        except RunCancelled:
            return None

    seen: list[int] = []
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(write, range(3)))
    assert found[1] is None
    assert seen.count(1) == 4
    assert [found[0].ids, found[2].ids] == [alone[0], alone[2]]
    queue = queue_of(exact.model)
    assert decode_greedily(exact, prompts[1], 5).ids == alone[1][:5]
    assert (queue._rows, list(queue._waiting)) == ([], [])


def test_nothing_is_kept_once_all_are_cancelled(exact: Backbone) -> None:
    prompts = [exact.chat.encode_turn(text) for text in TEXTS[:3]]
    stop, heard = threading.Event(), []

    def write(n: int) -> None:
        def on_token(_: int) -> None:
            heard.append(n)
            if len(heard) > 6:
                stop.set()

        with pytest.raises(RunCancelled):
            decode_greedily(exact, prompts[n], 60, on_token=on_token, cancelled=stop.is_set)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, range(3)))
    queue = queue_of(exact.model)
    assert (queue._rows, queue._cache, list(queue._waiting), queue._leading) == ([], None, [], False)


def test_an_error_reaches_all_that_it_concerns_and_nobody_after_them(
    exact: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = [exact.chat.encode_turn(text) for text in TEXTS[:3]]

    def fail(*_: Any) -> Any:
        raise MemoryError("no room")

    with monkeypatch.context() as patch, ThreadPoolExecutor(3) as pool:
        patch.setattr(DecodeStep, "__call__", fail)
        jobs = [pool.submit(decode_greedily, exact, prompt, 9) for prompt in prompts]
        for job in jobs:
            with pytest.raises(MemoryError, match="no room"):
                job.result()
    assert len(decode_greedily(exact, prompts[0], 9).ids) == 9


def test_a_prompt_that_cannot_be_read_ends_its_own_text_alone(exact: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    read, prompts = decode_queue._read, [exact.chat.encode_turn(text) for text in ("One", "Two", "Three")]
    expected = [decode_greedily(exact, prompt, 12).ids for prompt in prompts]

    def too_long(model: Any, text: Any, turns: Any) -> Any:
        if list(text.prompt) == prompts[1]:
            raise MemoryError("too long")
        return read(model, text, turns)

    monkeypatch.setattr(decode_queue, "_read", too_long)
    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(decode_greedily, exact, prompt, 12) for prompt in prompts]
        with pytest.raises(MemoryError, match="too long"):
            futures[1].result()
        assert [futures[n].result().ids for n in (0, 2)] == [expected[0], expected[2]]


def test_an_interrupt_of_the_one_that_computes_ends_no_other_silently(
    exact: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = exact.chat.encode_turn(TEXTS[0])

    def interrupt(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(DecodeStep, "__call__", interrupt)
        with pytest.raises(KeyboardInterrupt):
            decode_greedily(exact, prompt, 9)
    assert len(decode_greedily(exact, prompt, 9).ids) == 9


def test_too_many_that_wait_are_told_to_come_again(exact: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_queue, "MOST_WAITING", 0)
    with pytest.raises(BusyError, match=r"busy: 0 runs are waiting for the backbone; retry after \d+ s") as caught:
        decode_greedily(exact, [5], 9)
    assert caught.value.retry_after >= 1
