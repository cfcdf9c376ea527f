"""The program that turns HTML into text, in a process of its own: hostile HTML may take for ever, and is then killed.

Reads lines of JSON (`html` in base64, `charset`), writes lines of JSON (`title`, `text`, `time`). Main text by trafilatura
(Barbaresi 2021).
"""

from __future__ import annotations

import base64
import json
import logging
import sys

TEXT_CHARACTERS = 20_000
_MEMORY = 2 * 1024**3


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
    if charset is not None:
        try:
            return html.decode(charset)
        except (LookupError, UnicodeError, ValueError):
            pass
    return html


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
