"""Quiet loading: transformers draws progress bars on the host's terminal, and reports weights that are not needed, unless told not to."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_LOGGER = "transformers.modeling_utils"


def _is_no_report(record: logging.LogRecord) -> bool:
    return "LOAD REPORT" not in record.getMessage()


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Keep both off inside the block, and leave the host's choice as it was. Whoever loads looks for missing weights."""
    from transformers.utils import logging as theirs

    bars: Any = theirs  # untyped
    shown, logger = bars.is_progress_bar_enabled(), logging.getLogger(_LOGGER)
    bars.disable_progress_bar()
    logger.addFilter(_is_no_report)  # another level would make transformers say other things
    try:
        yield
    finally:
        logger.removeFilter(_is_no_report)
        if shown:
            bars.enable_progress_bar()
