"""Text files that are there whole or not at all."""

from __future__ import annotations

from pathlib import Path

from webrec.errors import ConfigurationError


def write_whole_text(path: Path, text: str) -> None:
    """Write UTF-8. What was there before stays if it cannot be written, which raises `ConfigurationError`."""
    fresh = path.with_name(f"{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise ConfigurationError(
            f"output: {path.parent} cannot be written ({error.strerror or error}); free some space there, then call the same command again"
        ) from None
