"""One JSON request to a search service: total deadline, bounded body, one clear sentence on failure."""

from __future__ import annotations

import json
from typing import Any

import httpx

from webrec.errors import SearchError

MAX_BYTES = 5_000_000


async def request_json(provider: str, method: str, url: str, **options: Any) -> dict[str, Any]:
    """The JSON object that the service answers. Raises `SearchError`; its message holds no key, query or body.

    Redirects are not followed (a key must reach no other host). The caller sets the deadline (`asyncio.timeout`).
    """
    try:
        async with (
            httpx.AsyncClient(follow_redirects=False, timeout=None) as client,  # noqa: S113 - the caller's deadline
            client.stream(method, url, **options) as response,
        ):
            if response.status_code in {401, 403}:
                raise SearchError(f"{provider} refused the key (HTTP {response.status_code}); check it")
            if response.status_code == 429:
                raise SearchError(f"{provider} is over its rate limit (HTTP 429); try again later")
            if response.status_code != 200:
                raise SearchError(f"{provider} answered HTTP {response.status_code}")
            body = bytearray()
            async for part in response.aiter_bytes():
                body += part
                if len(body) > MAX_BYTES:
                    raise SearchError(f"{provider} answered more than {MAX_BYTES:,} bytes")
        answer = json.loads(body.decode("utf-8", "replace"))
    except httpx.HTTPError as error:
        raise SearchError(f"{provider} could not be reached ({type(error).__name__})") from None
    except ValueError:
        raise SearchError(f"{provider} answered something that is not JSON") from None
    if not isinstance(answer, dict):
        raise SearchError(f"{provider} answered JSON of an unknown shape")
    return answer
