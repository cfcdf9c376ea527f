"""A budget of CPU threads for torch, so that several workers on one machine do not slow one another down.

torch counts threads for each thread of the process: one that has computed before keeps its own number whatever is set elsewhere.
So whoever computes in a thread that is not its own settles first (`turns` does). Another number also rounds differently.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_number: int | None = None


@contextmanager
def torch_threads(number: int) -> Iterator[None]:
    """Let torch use `number` threads inside the context, and as many as before after it; for the whole process.

    Other threads of the process follow at their next pass. Contexts that overlap without one being inside the other, in two
    threads, leave the number of whichever ends last.
    """
    import torch

    before = torch.get_num_threads()
    _set(number)
    try:
        yield
    finally:
        _set(before)


def settle() -> None:
    """Make this thread compute with as many threads as `torch_threads` last said for the process, if it ever did."""
    if _number is not None:
        import torch

        if torch.get_num_threads() != _number:
            torch.set_num_threads(_number)


def _set(number: int) -> None:
    import torch

    global _number
    torch.set_num_threads(number)
    _number = number
