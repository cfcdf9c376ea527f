"""The pages that a system reads, and the placebos: what it would read if pages said nothing of the example."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from hashlib import blake2b
from typing import Literal

from webrec.errors import ConfigurationError
from webrec.eval.data.dataset import RankingExample
from webrec.eval.retrieval.retrieve import FoundPage, Retrieved

Placebo = Literal["shuffled", "swapped"]


class PageSource:
    """What was found for each example; a system cannot read what it was not given.

    `found`: by (part, sampling), then by example key. `placebo`: `shuffled` gives each example the pages of another one of the
    same part and sampling, `swapped` its own titles with the texts of the other's pages. Which other is drawn by `seed`.
    """

    def __init__(
        self,
        found: Mapping[tuple[str, str], Mapping[str, Retrieved]],
        placebo: Placebo | None = None,
        seed: int = 0,
    ) -> None:
        self._found, self._placebo = found, placebo
        self._other: dict[tuple[str, str], dict[str, str]] = {}
        if placebo is not None:
            for cell, own in found.items():
                if len(own) < 2:
                    raise ConfigurationError(
                        "placebo: there is one example, so no other one's pages to take; leave it out"
                    )
                ring = sorted(own, key=lambda key: blake2b(f"{seed}\0{key}".encode()).digest())
                # The next around the ring is never the example itself; half way round it is hardly ever the same user.
                half = len(ring) // 2
                self._other[cell] = {key: ring[(place + half) % len(ring)] for place, key in enumerate(ring)}

    def of(self, example: RankingExample) -> Retrieved:
        """What `example` is given to read."""
        cell = example.part, example.sampling
        own = self._found[cell][example.key]
        if self._placebo is None:
            return own
        other = self._found[cell][self._other[cell][example.key]]
        if self._placebo == "shuffled":
            return replace(other, key=own.key)
        pages = tuple(
            FoundPage(page.title, other.pages[place % len(other.pages)].text if other.pages else "", page.url)
            for place, page in enumerate(own.pages)
        )
        return replace(own, pages=pages)
