"""A budget of CPU threads for torch, so that several workers on one machine do not slow one another down."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def torch_threads(number: int) -> Iterator[None]:
    """Let torch use `number` threads inside the context, and as many as before after it; for the whole process."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
