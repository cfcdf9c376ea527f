"""The program that turns HTML into text, in a process of its own: hostile HTML may take for ever, and is then killed.

Reads lines of JSON (`html` in base64, `charset`), writes lines of JSON (`title`, `text`, `time`). Main text by trafilatura
(Barbaresi 2021).
"""

from __future__ import annotations

import base64
import codecs
import json
import logging
import sys

TEXT_CHARACTERS = 20_000
_MEMORY = 2 * 1024**3
_NO_CHARSETS = frozenset({"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape", "utf-7"})
"""Encodings of Python that no page is written in; some take for ever, some raise whatever they are told to do with errors."""


def extract(html: bytes, charset: str | None) -> dict[str, str]:
    """Title, main text and date of a page; empty where it has none. The date is the last change that the page states."""
    from trafilatura import bare_extraction

    found = bare_extraction(_decoded(html, charset), with_metadata=True, include_comments=False)
    if found is None or isinstance(found, dict):
        return {"title": "", "text": "", "time": ""}
    return {
        "title": (found.title or "")[:1_000],
        "text": (found.text or "")[:TEXT_CHARACTERS],
        "time": found.date or "",
    }


def _decoded(html: bytes, charset: str | None) -> str | bytes:
    """With the charset that the server stated, if it is one and fits; else trafilatura finds out."""
    try:
        return html if (known := known_charset(charset)) is None else html.decode(known)
    except (LookupError, ValueError):
        return html


def known_charset(charset: str | None) -> str | None:
    """Python's name of a charset that pages are written in, else None."""
    try:
        name = codecs.lookup(charset or "").name
    except (LookupError, ValueError):
        return None
    return None if name in _NO_CHARSETS else name


def main() -> None:
    """Answer line by line until the input ends."""
    logging.disable(logging.CRITICAL)
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    import trafilatura  # noqa: F401 - before the first page is waited for

    for line in sys.stdin.buffer:
        asked = json.loads(line)
        try:
            answer = extract(base64.b64decode(asked["html"]), asked["charset"])
        except Exception as error:  # noqa: BLE001 - whatever a page does to a parser, the next page is read
            answer = {"error": type(error).__name__}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
