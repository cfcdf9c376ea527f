"""What every page of ours has: one file that loads nothing, and in which no foreign text can run."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from webrec.report.text import reveal


def policy(style: str, script: str | None = None) -> str:
    """The content security policy of a page with this style and, at most, this script."""
    return "; ".join(
        (
            "default-src 'none'",
            f"style-src '{_hash(style)}'",
            "script-src 'none'" if script is None else f"script-src '{_hash(script)}'",
            "img-src 'none'",
            "font-src 'none'",
            "media-src 'none'",
            "object-src 'none'",
            "frame-src 'none'",
            "worker-src 'none'",
            "connect-src 'none'",
            "manifest-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def environment(folder: Path, **filters: Callable[..., Any]) -> Environment:
    """Templates of `folder` with escaping on; whatever they print has its invisible characters shown."""
    made = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(filters)
    return made


@cache
def asset(path: Path) -> str:
    """A file of ours that becomes part of a page."""
    return path.read_text("utf-8")


def _finalize(value: Any) -> Any:
    """Whatever the template prints: strings with their invisible characters made visible (escaping comes after)."""
    return reveal(value) if isinstance(value, str) and not isinstance(value, Markup) else value
