"""Figures that a shop or a site computed over everybody when it was crawled: they hold what came after any purchase."""

from __future__ import annotations

import re

_NUMBER = r"\d[\d.,]{0,11}[km]?"
_PEOPLE = r"(?:customers?|people|users|shoppers|buyers|readers|viewers|fans|guests|members|others)"

_ALSO_BOUGHT = (
    rf"\b{_PEOPLE} (?:who|that) (?:\w++ ){{1,4}}?(?:this|these|it)\b(?: \w++){{0,2}}? also\b",
    rf"\b{_PEOPLE} also (?:bought|buy|viewed|view|watched|watch|like|liked|ordered|search(?:ed)? for|read|play(?:ed)?)\b",
    r"\b(?:also|frequently|often|usually) (?:bought|purchased|viewed|ordered) (?:together|with|by)\b",
    r"\b(?:what|which) other items do customers buy\b",
    rf"\b{_PEOPLE} ultimately buy after viewing\b",
    r"\balso[_ ](?:bought|viewed)\b ?\W{0,3} ?(?:\[|:)",
)
_SALES_RANK = (
    r"\b(?:best[- ]?sellers?|sales|amazon(?: sales)?|bestsellers?) rank(?:ing)?\b",
    rf"#{_NUMBER} (?:in|on|of) [a-z]",
    rf"\bno\. ?{_NUMBER} best[- ]?seller\b",
    r"\b#1 best[- ]?seller\b",
    rf"\b{_NUMBER}\+? (?:bought|sold|purchased) (?:in|over|during|within) (?:the )?(?:past|last)\b",
)
_AVERAGE_RATING = (
    r"\b(?:average|mean|overall|aggregate|global) (?:\w++ )?(?:rating|score|customer reviews?|user rating)\b",
    r"\b\d[.,]\d{1,2} ?(?:out of|of|/) ?(?:5|10)(?: stars?)?\b(?![./]\d)",
    r"\b\d[.,]\d{1,2} stars?\b",
    r"\b(?:rated|rating|score)[: ]{1,2}(?:of )?\d[.,]\d{1,2}\b",
    rf"\b{_NUMBER}\+? (?:global |customer |verified |total |user )?ratings\b",
    rf"\b{_NUMBER}\+? (?:global |customer |verified |total |user |critic )reviews\b",
    rf"\b(?:based on|from|out of) (?:\w++ )?{_NUMBER}\+? (?:\w++ )?(?:ratings|reviews|votes|reviewers|critics)\b",
    r"\b\d{1,3} ?% (?:of (?:critics|reviewers|users|viewers)\b|(?:approval|recommend|fresh|positive)\b)",
    r"\b(?:approval|audience|tomatometer|metacritic) (?:rating|score)\b",
    rf"\b{_NUMBER} (?:votes|people found this helpful)\b",
    r"\baverage of \d{1,3}(?:[.,]\d{1,2})? (?:out of|of|/) ?\d{1,3}\b",
)
_KINDS = tuple(
    (kind, tuple(re.compile(pattern, re.IGNORECASE | re.ASCII) for pattern in patterns))
    for kind, patterns in (
        ("also_bought", _ALSO_BOUGHT),
        ("sales_rank", _SALES_RANK),
        ("average_rating", _AVERAGE_RATING),
    )
)


def aggregates(text: str) -> tuple[str, ...]:
    """Which of also_bought, sales_rank and average_rating `text` holds; English wordings.

    Meant to err on the side of finding: "3.5 out of 5 stars" may be one reviewer's own and is found all the same.
    """
    return tuple(kind for kind, patterns in _KINDS if any(pattern.search(text) for pattern in patterns))
