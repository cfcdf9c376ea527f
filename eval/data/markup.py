"""Text out of the HTML that shops leave in titles and descriptions."""

from __future__ import annotations

from html.parser import HTMLParser

from webrec.tools.text_safety import clean

_SILENT = {"script", "style"}


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._silent += tag in _SILENT
        self.parts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        self._silent = max(0, self._silent - (tag in _SILENT))
        self.parts.append(" ")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.parts.append(data)


def plain_text(markup: str) -> str:
    """`markup` without tags, scripts and styles, entities decoded (also those encoded twice), one line."""
    text = markup
    for _ in range(2):
        if "<" not in text and "&" not in text:
            break
        reader = _Text()
        reader.feed(text)
        reader.close()
        text = "".join(reader.parts)
    return clean(text)
