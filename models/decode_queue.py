"""Texts that are written at the same time, whichever thread asked for them: each step is one pass for all of them.

Continuous batching: a text joins before the next step and leaves when it has stopped. There is no thread of its own: of those that
wait, one computes the next step for all.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from webrec.errors import BusyError, ConfigurationError, RunCancelled
from webrec.models.allocator import give_back
from webrec.models.decode_step import StepCache, step_of
from webrec.models.draft import LOOKED_UP, draft_of
from webrec.models.packed_attention import read_prompt
from webrec.models.text_in_progress import LONGEST_DRAFT, TextInProgress, entropy_of
from webrec.models.turns import turns_of

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

MOST_CELLS = 16_384
"""Rows times columns of the shared cache, unless one text alone needs more: 0.4 GB for the default backbone in bfloat16."""

MOST_WAITING = 1024
"""Texts that may wait to join; who comes after them is told to come again."""

LARGE = 2**26
"""Bytes of a shared cache after which free memory is given back: many rows of another length would not fit into the holes that it leaves."""

_queues: WeakKeyDictionary[LlamaForCausalLM, DecodeQueue] = WeakKeyDictionary()
_registry = threading.Lock()


def queue_of(model: LlamaForCausalLM) -> DecodeQueue:
    """The queue of all that `model` writes in this process."""
    with _registry:
        return _queues.setdefault(model, DecodeQueue())


class DecodeQueue:
    """What one model writes. Its state belongs to the thread that has `_leading`; `_waiting` and the flags to `_changed`."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[TextInProgress] = deque()
        self._leading = False
        self._rows: list[TextInProgress] = []
        self._cache: StepCache | None = None
        self._large = False  # whether it was, since all rows ended
        self._seconds = 1.0  # between two texts that end, smoothed
        self._ended = time.monotonic()

    def write(
        self,
        model: LlamaForCausalLM,
        texts: Sequence[TextInProgress],
        on_token: Callable[[int], None],
        cancelled: Callable[[], bool],
    ) -> None:
        """Write `texts` to their ends. `on_token` hears each token, in the caller's thread.

        Raises `BusyError` if too many texts wait already, `RunCancelled` once `cancelled()` is true, and what computing raised.
        """
        with self._changed:
            if (waiting := len(self._waiting)) >= MOST_WAITING:
                raise BusyError(waiting, waiting * self._seconds)
            self._waiting.extend(texts)
        try:
            while not all(text.done for text in texts):
                self._report(texts, on_token, cancelled)
                self._advance_or_wait(model, texts)
            self._report(texts, on_token, cancelled)
        finally:
            with self._changed:
                for text in texts:
                    text.withdrawn = True
                if not self._leading:
                    self._let_go()
        for text in texts:
            if text.error is not None:
                raise text.error

    def _report(
        self, texts: Sequence[TextInProgress], on_token: Callable[[int], None], cancelled: Callable[[], bool]
    ) -> None:
        for text in texts:
            for token in text.unreported():
                on_token(token)
                if cancelled():
                    break
        if cancelled():
            raise RunCancelled("the run was cancelled while the backbone was reasoning")

    def _advance_or_wait(self, model: LlamaForCausalLM, texts: Sequence[TextInProgress]) -> None:
        with self._changed:
            if all(text.done for text in texts):
                return
            if self._leading:
                self._changed.wait()
                return
            self._leading = True
            joining = self._admit()
        try:
            self._advance(model, joining)
        except BaseException as error:
            failure = (
                error if isinstance(error, Exception) else RunCancelled("interrupted while the backbone was reasoning")
            )
            for text in [*self._rows, *joining]:
                text.error, text.done = failure, True
            self._drop()
            if failure is not error:
                raise
        finally:
            with self._changed:
                self._leading = False
                self._changed.notify_all()

    def _let_go(self) -> None:
        """Keep nothing that nobody waits for: the next text may be long in coming. Only while nobody has the lead."""
        self._waiting = deque(text for text in self._waiting if not text.withdrawn)
        if all(text.withdrawn for text in self._rows):
            self._drop()

    def _admit(self) -> list[TextInProgress]:
        """Those that waited longest and fit beside what is being written, at least one text in all."""
        self._waiting = deque(text for text in self._waiting if not text.withdrawn)
        joining: list[TextInProgress] = []
        while self._waiting:
            all_rows = [*self._rows, *joining, self._waiting[0]]
            longest = max(len(text.prompt) + text.limit + 1 for text in all_rows)
            if len(all_rows) > 1 and len(all_rows) * longest > MOST_CELLS:
                break
            joining.append(self._waiting.popleft())
        return joining

    def _advance(self, model: LlamaForCausalLM, joining: Sequence[TextInProgress]) -> None:
        """Read what joins, then one step for all."""
        import torch

        turns = turns_of(model.device)
        with torch.inference_mode():
            read = [(text, cache) for text in joining if (cache := _read_alone(model, text, turns)) is not None]
            self._keep([text for text in self._rows if not text.withdrawn])
            if read:
                rows = [*self._rows, *(text for text, _ in read)]
                room = max(text.limit - len(text.ids) for text in rows) + 1 + max(LOOKED_UP, LONGEST_DRAFT)
                self._cache = StepCache([cache for _, cache in read], room, beside=self._cache)
                self._large |= self._cache.nbytes >= LARGE
                self._rows = rows
            if self._cache is not None:
                with turns.take():
                    going = _step(model, self._rows, self._cache)
                self._keep(going)
        if ended := sum(text.done for text in joining) + sum(text.done for text in self._rows):
            now = time.monotonic()
            self._seconds += 0.1 * ((now - self._ended) / ended - self._seconds)
            self._ended = now

    def _keep(self, rows: list[TextInProgress]) -> None:
        if len(rows) < len(self._rows) and self._cache is not None:
            places = {id(text): place for place, text in enumerate(self._rows)}
            self._cache.keep([places[id(text)] for text in rows])
        self._rows = rows
        if not rows:
            self._drop()

    def _drop(self) -> None:
        self._rows, self._cache = [], None
        if self._large:
            self._large = False
            give_back()


def _read_alone(model: LlamaForCausalLM, text: TextInProgress, turns: Any) -> Any | None:
    """`_read`; what goes wrong there, a prompt too long for the memory, is that text's alone."""
    try:
        return _read(model, text, turns)
    except Exception as error:  # noqa: BLE001 (raised where the text is waited for)
        text.error, text.done = error, True
        return None


def _read(model: LlamaForCausalLM, text: TextInProgress, turns: Any) -> Any | None:
    """The cache of `text`'s prompt once its first token is taken; None if it goes no further."""
    import torch
    from transformers import DynamicCache

    if text.withdrawn:
        return None
    cache: Any = DynamicCache(config=model.config)
    with turns.take():
        ids = torch.tensor([list(text.prompt)], device=model.device)
        logits = read_prompt(model, ids, cache)
        text.take(int(logits.argmax()), float(entropy_of(logits)))
    return None if text.done else cache


def _step(model: LlamaForCausalLM, rows: list[TextInProgress], cache: StepCache) -> list[TextInProgress]:
    """One pass over each row's last token, and over guesses if there is one row; returns the rows that go on."""
    import torch

    guess = _guess(model, rows[0], cache) if len(rows) == 1 else []
    ids = torch.tensor([[text.ids[-1], *guess] for text in rows], device=model.device)
    held = cache.held
    watched = {text.watched for text in rows if text.watched is not None}
    logits, attention = step_of(model)(ids, cache, watched)
    tokens, nats = logits.argmax(-1).tolist(), entropy_of(logits).tolist()
    for row, text in enumerate(rows):
        for at, (token, entropy) in enumerate(zip(tokens[row], nats[row], strict=True)):
            if text.watched is not None:
                seen, before = attention[text.watched][row, at], len(text.ids) - 1
                own = len(seen) - len(tokens[row]) + at
                text.watch(seen[own - before : own])
            if text.closing:
                text.done = True
            else:
                try:
                    text.take(token, entropy)
                except ConfigurationError as error:  # that text's alone
                    text.error, text.done = error, True
            if text.done or text.closing or guess[at : at + 1] != [token]:
                cache.held = held + at + 1  # what was guessed beyond here is overwritten
                if guess:
                    text.learn_from_draft(len(guess), at)
                break
    return [text for text in rows if not text.done]


def _guess(model: LlamaForCausalLM, text: TextInProgress, cache: StepCache) -> list[int]:
    """What may come next: a draft where that is quick, else what followed the same words before."""
    draft = draft_of(model)
    return text.looked_up(LOOKED_UP) if draft is None else draft.write(text, cache)
