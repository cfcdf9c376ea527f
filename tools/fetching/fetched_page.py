"""What came of fetching a page."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter

from webrec.tools.fetching.extractor import TEXT_CHARACTERS
from webrec.tools.text_safety import clean, safe_url

Status = Literal["fetched", "refused", "robots", "failed", "too_large", "not_text", "empty"]


@dataclass(frozen=True, slots=True)
class FetchedPage:
    """What came of one address. `reason`: why there is no text, empty if there is.

    `bytes`: the body's, decompressed; of a page that is too large the limit, which it exceeds.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    url: str
    final_url: str
    status: Status
    reason: str = ""
    title: str = ""
    text: str = ""
    time: str = ""
    bytes: int = 0


_PAGE = TypeAdapter(FetchedPage)


def foreign_page(content: Any) -> FetchedPage:
    """A page that another machine recorded, its texts cleaned as when they were fetched. Raises `ValueError` for anything else."""
    page = _PAGE.validate_json(json.dumps(content))  # strict about types, and yet a dictionary may be a page
    return replace(
        page,
        final_url=page.url if page.final_url == page.url else safe_url(page.final_url),
        reason=clean(page.reason),
        title=clean(page.title, TEXT_CHARACTERS),
        text=clean(page.text, TEXT_CHARACTERS),
        time=clean(page.time),
    )
