"""Text files that are there whole or not at all."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from webrec.errors import ConfigurationError


def write_whole_text(path: Path, text: str, setting: str = "output") -> None:
    """Write UTF-8. What was there before stays if it cannot be written, which raises `ConfigurationError` naming `setting`."""
    fresh = path.with_name(f"{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise unwritable(path.parent, error, setting) from None


def unwritable(folder: Path, error: OSError, setting: str = "output") -> ConfigurationError:
    """That `folder` takes nothing more, and what to do."""
    return ConfigurationError(
        f"{setting}: {folder} cannot be written ({error.strerror or error}); free some space there or give another folder, then call "
        "the same command again"
    )
