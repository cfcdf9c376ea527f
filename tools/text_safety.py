"""Foreign text (titles, pages, model output) made safe to store, print and put in a prompt."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import urlsplit

# Joiners that some scripts and emoji need; every other format character (category Cf) is invisible or reorders text.
_KEPT_FORMAT = {"\u200c", "\u200d"}
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_SPACE = re.compile(" +")


def clean(text: str, limit: int | None = None) -> str:
    """One line of visible text: terminal escapes, control, bidirectional and invisible characters removed.

    White space is folded to single spaces, broken surrogates become the replacement character, and the result is cut
    to `limit` characters (with an ellipsis).
    """
    text = _ANSI.sub("", text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    spaced = (" " if c.isspace() else c for c in text)
    visible = (c for c in spaced if c in _KEPT_FORMAT or unicodedata.category(c) not in {"Cc", "Cf", "Co", "Cn", "Cs"})
    text = _SPACE.sub(" ", "".join(visible)).strip(" \u200c\u200d")
    if limit is not None and len(text) > limit:
        text = text[: limit - 1].rstrip() + "…"
    return text


def normalised(title: str) -> str:
    """A title as it is compared: cleaned, compatibility-normalised (NFKC), case folded."""
    return unicodedata.normalize("NFKC", clean(title)).casefold()


def safe_url(url: str) -> str:
    """`url` if it is a plain http or https address without credentials, else the empty string."""
    url = url.strip()
    if clean(url) != url or len(url) > 2000 or any(c in url for c in "\"'<>\\` "):
        return ""
    try:
        parts = urlsplit(url)
        host, user = parts.hostname, parts.username
    except ValueError:
        return ""
    return url if parts.scheme in {"http", "https"} and host and user is None else ""
