"""An answer's body, decompressed no further than a limit: a small answer that unpacks to gigabytes stops there."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterable

_GZIP = 16 + zlib.MAX_WBITS


class TooLarge(Exception):
    """The body is longer than the limit."""


class Unreadable(Exception):
    """The body is not compressed the way the answer says."""


async def read_bounded(parts: AsyncIterable[bytes], encoding: str, limit: int) -> bytes:
    """The body of at most `limit` bytes, after decompression. `encoding`: the Content-Encoding header, maybe empty.

    Only gzip is asked for, so only gzip is understood: httpx itself unpacks a whole part, and layers of layers, before
    anyone can stop it. Raises `TooLarge` and `Unreadable`.
    """
    encoding = encoding.strip().lower()
    if encoding in {"gzip", "x-gzip"}:
        return await _unpacked(parts, limit)
    if encoding not in {"", "identity"}:
        raise Unreadable
    body = bytearray()
    async for part in parts:
        body += part
        if len(body) > limit:
            raise TooLarge
    return bytes(body)


async def _unpacked(parts: AsyncIterable[bytes], limit: int) -> bytes:
    body = bytearray()
    stream = zlib.decompressobj(_GZIP)
    try:
        async for part in parts:
            while part:
                if stream.eof:  # gzip files may follow one another
                    stream = zlib.decompressobj(_GZIP)
                body += stream.decompress(part, limit + 1 - len(body))
                if len(body) > limit:
                    raise TooLarge
                part = stream.unconsumed_tail or stream.unused_data
    except zlib.error:
        raise Unreadable from None
    if not stream.eof:
        raise Unreadable
    return bytes(body)
