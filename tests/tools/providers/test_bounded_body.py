"""Bodies are whole or refused, and never unpacked beyond the limit."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webrec.tools.providers.bounded_body import TooLarge, Unreadable, read_bounded


def read(body: bytes, encoding: str, limit: int, size: int = 1 << 16) -> bytes:
    async def parts() -> AsyncIterator[bytes]:
        for start in range(0, len(body), size):
            yield body[start : start + size]

    return asyncio.run(read_bounded(parts(), encoding, limit))


@given(
    bodies=st.lists(st.binary(max_size=300), min_size=1, max_size=3), size=st.integers(1, 200), spare=st.integers(0, 3)
)
def test_what_fits_arrives_whole(bodies: list[bytes], size: int, spare: int) -> None:
    whole = b"".join(bodies)
    packed = b"".join(map(gzip.compress, bodies))
    assert read(packed, "GZIP", len(whole) + spare, size) == whole
    assert read(whole, "", len(whole) + spare, size) == whole
    if whole:
        for body, encoding in ((packed, "x-gzip"), (whole, "identity")):
            with pytest.raises(TooLarge):
                read(body, encoding, len(whole) - 1, size)


@given(body=st.binary(min_size=1, max_size=200), cut=st.integers(1, 12))
def test_what_is_cut_short_is_refused(body: bytes, cut: int) -> None:
    with pytest.raises(Unreadable):
        read(gzip.compress(body)[:-cut], "gzip", 1000)


@pytest.mark.parametrize("encoding", ["br", "zstd", "deflate", "gzip, gzip", "nonsense"])
def test_only_what_was_asked_for_is_understood(encoding: str) -> None:
    with pytest.raises(Unreadable):
        read(gzip.compress(b"{}"), encoding, 1000)


@pytest.mark.parametrize("body", [b"", b"{}", gzip.compress(b"{}") + b"more"])
def test_what_is_no_gzip_is_refused(body: bytes) -> None:
    with pytest.raises(Unreadable):
        read(body, "gzip", 1000)


def test_a_bomb_takes_no_more_memory_than_the_limit() -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            read(bomb, "gzip", 100_000)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
