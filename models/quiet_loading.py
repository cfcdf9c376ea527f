"""Quiet loading: transformers draws progress bars on the host's terminal, and reports weights that are not needed, unless told not to."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_LOGGER = "transformers.modeling_utils"
_HARM = ("MISSING", "MISMATCH", "CONVERSION")


class _Quiet(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        said = record.getMessage()
        return "LOAD REPORT" not in said or any(word in said for word in _HARM)


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Keep both off inside the block, and leave the host's choice as it was. Weights that are missing or do not fit are still told of."""
    from transformers.utils import logging as theirs

    bars: Any = theirs  # untyped
    shown, logger = bars.is_progress_bar_enabled(), logging.getLogger(_LOGGER)
    bars.disable_progress_bar()
    # Another level would make transformers say other things. Each block has a filter of its own: others may still be loading.
    quiet = _Quiet()
    logger.addFilter(quiet)
    try:
        yield
    finally:
        logger.removeFilter(quiet)
        if shown:
            bars.enable_progress_bar()
