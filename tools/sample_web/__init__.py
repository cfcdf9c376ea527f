"""The packaged sample web: a small fictional web for trying WebRec out."""

from __future__ import annotations

from pathlib import Path


def pages_path() -> Path:
    """File of the sample web's pages, one JSON object a line."""
    return Path(__file__).with_name("pages.jsonl")
