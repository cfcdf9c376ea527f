"""Quiet loading: transformers draws progress bars on the host's terminal unless told not to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def quiet_progress_bars() -> Iterator[None]:
    """Keep transformers' progress bars off inside the block, and leave the host's choice as it was."""
    from transformers.utils import logging

    bars: Any = logging  # untyped
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()
