"""The main text of an HTML page, extracted by a child process that is killed when it takes too long."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from webrec.errors import missing_extra
from webrec.tools.fetching import extractor
from webrec.tools.text_safety import clean

_LONGEST_LINE = 1_000_000
_KEPT_VARIABLES = ("PATH", "SYSTEMROOT", "LANG", "LC_ALL")


class ExtractionError(Exception):
    """The page could not be read; the text says why."""


@dataclass(frozen=True, slots=True)
class Extracted:
    """What a page says: title, main text and date, cleaned; empty where it has none."""

    title: str
    text: str
    time: str


def require_fetch_extra() -> None:
    """Raise `MissingExtraError` if the packages that fetching needs are not installed; imports none of them."""
    for package in ("trafilatura", "protego"):
        if find_spec(package) is None:
            raise missing_extra("fetch", package)


class Extractor:
    """One child process at a time, started when the first page comes. It sees no secret: no environment variable but path and locale."""

    def __init__(self) -> None:
        self._child: Process | None = None
        self._turn = asyncio.Lock()

    async def extract(self, html: bytes, charset: str | None, seconds: float) -> Extracted:
        """Raises `ExtractionError` if the page takes longer than `seconds` or cannot be read at all."""
        async with self._turn:
            child = await self._running()
            question = {"html": base64.b64encode(html).decode("ascii"), "charset": charset}
            try:
                async with asyncio.timeout(seconds):
                    answer = await self._ask(child, json.dumps(question).encode() + b"\n")
            except TimeoutError:
                await self.aclose()
                raise ExtractionError(f"its text could not be extracted within {seconds:g} s") from None
            except (ConnectionError, ValueError):
                await self.aclose()
                raise ExtractionError("its text could not be extracted (the extractor ended)") from None
            except BaseException:
                await self.aclose()  # the answer would be taken for the next page's
                raise
        if "error" in answer:
            raise ExtractionError(f"its text could not be extracted ({answer['error']})")
        return Extracted(clean(answer["title"], 300), clean(answer["text"]), clean(answer["time"], 40))

    async def aclose(self) -> None:
        """End the child."""
        child, self._child = self._child, None
        if child is not None and child.returncode is None:
            child.kill()
            await asyncio.shield(child.wait())

    async def _running(self) -> Process:
        if self._child is None or self._child.returncode is not None:
            # By path, without our package: it then imports nothing but what it needs.
            self._child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                str(Path(extractor.__file__)),
                stdin=PIPE,
                stdout=PIPE,
                stderr=DEVNULL,
                limit=_LONGEST_LINE,
                env={name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
            )
        return self._child

    async def _ask(self, child: Process, line: bytes) -> dict[str, str]:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(line)
        await child.stdin.drain()
        answer: dict[str, str] = json.loads(await child.stdout.readline())
        return answer
