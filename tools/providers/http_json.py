"""One JSON request to a search service: bounded body, one clear sentence on failure, and whether asking again can help."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import httpx

from webrec.errors import SearchError
from webrec.tools.providers.bounded_body import TooLarge, Unreadable, read_bounded
from webrec.tools.providers.http_client import shared_client
from webrec.tools.providers.http_failures import refusal

MAX_BYTES = 5_000_000
"""Of an answer, after decompression."""
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


async def request_json(
    provider: str,
    method: str,
    url: str,
    *,
    meanings: Mapping[int, str] = MappingProxyType({}),
    **options: Any,
) -> dict[str, Any]:
    """The JSON object that the service answers, whatever type it says it is.

    `meanings`: what an HTTP status means for this provider, as the rest of a sentence that starts with its name.
    `options` are httpx's: headers, params, json.

    Redirects are not followed (a key must reach no other host). There is no time limit here: the caller sets it
    (`asyncio.timeout`), and the connection is closed when it passes.

    Raises `SearchError`, whose message holds no key, query or body. Worth another try (`retry`): HTTP 429, 500, 502,
    503 and 504, and connections that broke or could not be made. Maybe billed (`lost`): whatever came after the request
    was sent and is not a refusal, so also an answer that cannot be used.
    """
    body, content_type = await _receive(provider, method, url, meanings, options)
    try:
        answer = json.loads(body.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError):
        kind = f" ({content_type})" if re.fullmatch(r"[a-z0-9.+-]{1,40}/[a-z0-9.+-]{1,40}", content_type) else ""
        raise SearchError(f"{provider} answered something that is not JSON{kind}", lost=True) from None
    if not isinstance(answer, dict):
        raise SearchError(f"{provider} answered JSON of an unknown shape", lost=True)
    return answer


async def _receive(
    provider: str, method: str, url: str, meanings: Mapping[int, str], options: Mapping[str, Any]
) -> tuple[bytes, str]:
    """Body and content type of a 200."""
    try:
        async with shared_client() as client, client.stream(method, url, **options) as response:
            if response.status_code != 200:
                raise refusal(provider, response.status_code, response.headers, meanings)
            encoding = response.headers.get("content-encoding", "")
            body = await read_bounded(response.aiter_raw(), encoding, MAX_BYTES)
            return body, response.headers.get("content-type", "").partition(";")[0].strip().lower()
    except TooLarge:
        raise SearchError(f"{provider} answered more than {MAX_BYTES:,} bytes", lost=True) from None
    except Unreadable:
        raise SearchError(f"{provider} answered something that could not be decompressed", lost=True) from None
    except (httpx.LocalProtocolError, httpx.UnsupportedProtocol, httpx.InvalidURL, UnicodeEncodeError) as error:
        raise SearchError(
            f"{provider} was not asked: its address or key has characters or a form that cannot be sent "
            f"({type(error).__name__}); check both"
        ) from None
    except _NOT_SENT as error:
        if _bad_certificate(error):
            raise SearchError(f"{provider} could not be reached: its certificate could not be verified") from None
        raise SearchError(f"{provider} could not be reached ({type(error).__name__})", retry=True) from None
    except httpx.HTTPError:
        raise SearchError(f"{provider} broke off the connection", retry=True, lost=True) from None


def _bad_certificate(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False
