"""Foreign text (titles, pages, model output) made safe to store, print and put in a prompt."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import urlsplit

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_SPACE = re.compile(" +")

_JOINERS = "\u200c\u200d"
# Letters and marks that show nothing: combining joiner, Hangul fillers, inherent Khmer vowels. Format characters and tags
# (category Cf) go by their category.
_UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0]")
_BLANK = "\u2800"  # the empty Braille pattern looks like a space
# Joiners shape letters from Arabic to Mongolian and join emoji; between other letters they only break words apart.
_JOINED = "\u0600-\u10ff\u1780-\u18af\u2190-\u2bff\ufe0f\U0001f000-\U0001faff"
_STRAY_JOINERS = re.compile(
    f"(?<![{_JOINED}{_JOINERS}])[{_JOINERS}]++|(?<=[{_JOINERS}])[{_JOINERS}]++|[{_JOINERS}](?![{_JOINED}{_JOINERS}])"
    f"|[{_JOINERS}](?=[{_JOINERS}]++(?![{_JOINED}]))"
)
# A selector picks a variant of a symbol or a key's digit, of a Chinese character, of a Mongolian letter. Elsewhere, or several
# in a row, they carry hidden bytes.
_SYMBOLS = "#*0-9\u00a9\u00ae\u2030-\u2bff\u3030-\u32ff\U0001f000-\U0001faff"
_CHINESE = "\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_STRAY_SELECTOR = re.compile(
    f"(?<![{_SYMBOLS}])[\ufe0e\ufe0f]|(?<![{_CHINESE}])[\ufe00-\ufe02\U000e0100-\U000e01ef]"
    "|(?<![\u1820-\u18aa])[\u180b-\u180d]|[\ufe03-\ufe0d]"
)
MARKS = 4
"""Most combining marks on one letter; Hebrew, Thai and Vietnamese need three. More of them paint over other lines."""


def clean(text: str, limit: int | None = None) -> str:
    """One line of visible text: terminal escapes, control, bidirectional and invisible characters removed.

    White space is folded to single spaces, broken surrogates become the replacement character, joiners and variation
    selectors stay only where a script or an emoji needs them, a letter keeps at most four combining marks, and the result
    is cut to `limit` characters (with an ellipsis). Letters that look like others (Cyrillic а, full-width Ａ) stay.
    """
    text = storable(_ANSI.sub("", text))
    if text.isascii():
        text = "".join(c if c.isprintable() else " " if c.isspace() else "" for c in text)
    else:
        text = _without_unseen(text)
    text = _SPACE.sub(" ", text).strip(" ")
    if limit is not None and len(text) > limit:
        text = text[: limit - 1].rstrip(" " + _JOINERS) + "…"
    return text


def storable(text: str) -> str:
    """`text` with the replacement character for broken surrogates, which JSON can spell and no file can hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _without_unseen(text: str) -> str:
    spaced = (" " if c.isspace() or c == _BLANK else c for c in text)
    visible = (c for c in spaced if c in _JOINERS or unicodedata.category(c) not in {"Cc", "Cf", "Co", "Cn", "Cs"})
    text = _few_marks(_UNSEEN.sub("", "".join(visible)))
    return _STRAY_JOINERS.sub("", _STRAY_SELECTOR.sub("", text))


def _few_marks(text: str) -> str:
    kept, marks = [], 0
    for character in text:
        if unicodedata.category(character) in {"Mn", "Me"}:
            marks += 1
        elif character not in _JOINERS:
            marks = 0
        if marks <= MARKS:
            kept.append(character)
    return "".join(kept)


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


def service_address(url: str) -> str:
    """A service's own address, without a slash at its end: `safe_url`, and no query or fragment; else the empty string."""
    address = safe_url(url)
    try:
        parts = urlsplit(address)
        plain = bool(address) and not parts.query and not parts.fragment and parts.port != 0
    except ValueError:
        return ""
    return address.rstrip("/") if plain else ""
