"""What the services answer, as they document it: two pages, one of them twice."""

from __future__ import annotations

import json
from typing import Any

PROVIDERS = ("tavily", "brave", "searxng", "duckduckgo")

TITLES = ["Wool scarf", "Garden hose & more"]
URLS = ["https://a.example/1?b=2&c=3", "https://b.example/2"]
SNIPPETS = ["Warm wool, 5 < 6.", "It is green."]

TAVILY = {
    "query": "…",
    "results": [
        {"title": TITLES[0], "url": URLS[0], "content": SNIPPETS[0], "score": 0.9, "published_date": "2024-05-01"},
        {"title": "The same page", "url": URLS[0] + "#part", "content": "Again.", "score": 0.8},
        {"title": TITLES[1], "url": URLS[1], "content": SNIPPETS[1], "score": "high", "raw_content": None},
    ],
    "response_time": 0.1,
}
BRAVE = {
    "type": "search",
    "web": {
        "type": "search",
        "results": [
            {
                "title": "<strong>Wool</strong> scarf",
                "url": URLS[0],
                "description": "Warm <strong>wool</strong>, 5 &lt; 6.",
                "page_age": "2024-05-01",
            },
            {"title": "The same page", "url": URLS[0], "description": "Again."},
            {
                "title": "Garden hose &amp; more",
                "url": URLS[1],
                "description": "It",
                "extra_snippets": ["is green.", 3, None],
            },
        ],
    },
}
SEARXNG = {
    "query": "…",
    "number_of_results": 0,
    "results": [
        {
            "title": TITLES[0],
            "url": URLS[0],
            "content": SNIPPETS[0],
            "score": 0.9,
            "publishedDate": "2024-05-01",
            "engines": ["a", "b"],
        },
        {"title": "The same page", "url": URLS[0], "content": "Again."},
        {"title": TITLES[1], "url": URLS[1], "content": SNIPPETS[1], "publishedDate": None},
    ],
    "answers": [],
    "suggestions": [],
    "unresponsive_engines": [["c", "timeout"]],
}
_RESULT = """
<div class="result results_links results_links_deep web-result"><div class="links_main links_deep result__body">
 <h2 class="result__title"><a rel="nofollow" class="result__a" href="{url}">{title}</a></h2>
 <div class="result__extras"><a class="result__url" href="{url}">x.example</a></div>
 <a class="result__snippet" href="{url}">{snippet}</a>
</div></div>"""
DUCKDUCKGO = (
    "<!DOCTYPE html><html><head><title>q at DuckDuckGo</title></head><body><div id='links' class='results'>"
    + _RESULT.format(url="https://duckduckgo.com/y.js?ad_domain=c.example", title="An advertisement", snippet="Buy.")
    + _RESULT.format(
        url="//duckduckgo.com/l/?uddg=https%3A%2F%2Fa.example%2F1%3Fb%3D2%26c%3D3&amp;rut=0a1b",
        title="Wool scarf",
        snippet="Warm <b>wool</b>, 5 &lt; 6.",
    )
    + _RESULT.format(url="https://a.example/1?b=2&amp;c=3", title="The same page", snippet="Again.")
    + _RESULT.format(url=URLS[1], title="Garden hose &amp; more", snippet="It is <b>green</b>.")
    + "</div></body></html>"
)
NOTHING: dict[str, bytes] = {
    "tavily": b'{"query": "q", "results": []}',
    "brave": b'{"type": "search", "query": {"original": "q"}}',
    "searxng": b'{"query": "q", "results": [], "unresponsive_engines": []}',
    "duckduckgo": b'<html><body><div class="result result--no-result"><div class="links_main links_deep result__body">'
    b'<div class="no-results">No results found for <b>q</b></div></div></div></body></html>',
}
"""How each says that it found nothing."""
FINE: dict[str, bytes] = {
    "tavily": json.dumps(TAVILY).encode(),
    "brave": json.dumps(BRAVE).encode(),
    "searxng": json.dumps(SEARXNG).encode(),
    "duckduckgo": DUCKDUCKGO.encode(),
}


def with_results(provider: str, results: Any) -> bytes:
    """The answer of one of the three that answer JSON, with these results."""
    if provider == "brave":
        return json.dumps({"type": "search", "web": {"results": results}}).encode()
    return json.dumps({"results": results}).encode()
