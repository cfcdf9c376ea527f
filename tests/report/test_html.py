"""The report as a text: what it shows, and that no foreign text gets out of its place."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from webrec.nodes.schema import Recommendation
from webrec.report.html import ReportEntry, render_report
from webrec.report.text import keyword_spans, number, percent, reveal, shown

Make = Callable[..., Recommendation]

HOSTILE = (
    "</script><script>alert(1)</script>",
    "</style><style>*{display:none}",
    "javascript:alert(1)",
    '"><img src=x onerror="document.title=1">',
    "' onmouseover='alert(1)",
    "{{7*7}}{% raw %}",
    "\x1b[31mred\x1b[0m",
    "left\u202eright",
    "zero\u200bwidth",
    "<!--",
    "-->",
    "]]>",
    "nu\x00ll",
    "&lt;b&gt; &amp; &#x202e;",
    "\ud800 lone",
    "\r\n\u2028 lines",
    "<base href=//evil.example><meta http-equiv=refresh content=0>",
)
VOID = {"meta", "input", "br", "img", "link", "base", "hr"}
TAGS = set(
    re.findall(
        r"\w+",
        "html head meta title style body a header h1 h2 h3 span p nav label select option div main section ul ol li b i bdi "
        "small mark details summary fieldset legend input svg rect line table caption thead tbody tr th td dl dt dd button "
        "footer script",
    )
)


class Dom(HTMLParser):
    """Elements as [tag, attributes, text]; fails on what is not closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open: list[int] = []
        self.comments: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute of <{tag}> is there twice"
        self.elements.append((tag, dict(attrs), []))
        if tag not in VOID:
            self._open.append(len(self.elements) - 1)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self._open.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        for place in self._open:
            self.elements[place][2].append(data)

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    def all(self, tag: str | None = None, cls: str | None = None) -> list[tuple[dict[str, str | None], str]]:
        return [
            (attributes, "".join(text))
            for name, attributes, text in self.elements
            if (tag is None or name == tag) and (cls is None or cls in (attributes.get("class") or "").split())
        ]

    def one(self, tag: str | None = None, cls: str | None = None) -> str:
        found = self.all(tag, cls)
        assert len(found) == 1, (tag, cls, found)
        return found[0][1]


def entry(recommendation: Recommendation, title: str = "One", **more: Any) -> ReportEntry:
    return ReportEntry(title, more.pop("history", ("Balm", "Soap", "Cream")), recommendation, **more)


def dom(*entries: ReportEntry) -> Dom:
    return Dom(render_report(entries))


def check_safe(page: Dom) -> None:
    """No element, attribute or address that the template does not write."""
    assert {tag for tag, _, _ in page.elements} <= TAGS
    assert not page.comments
    assert len(page.all("script")) == len(page.all("style")) == len(page.all("title")) == 1
    assert [a.get("http-equiv") for a, _ in page.all("meta") if "http-equiv" in a] == ["Content-Security-Policy"]
    for tag, attributes, _ in page.elements:
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert name not in {"style", "src", "srcset", "action", "background", "srcdoc"}
            if name == "href":
                assert re.match(r"https?://|#[a-z0-9-]+$", value or ""), (tag, value)


def test_policy_allows_the_inlined_style_and_script_alone(make: Make) -> None:
    page = dom(entry(make()))
    policy = next(a["content"] for a, _ in page.all("meta") if a.get("http-equiv"))
    parts = dict(part.split(" ", 1) for part in policy.split("; "))
    assert parts["default-src"] == "'none'"
    for name in ("img-src", "connect-src", "base-uri", "form-action", "font-src", "object-src", "frame-src"):
        assert parts[name] == "'none'"
    for tag in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(page.one(tag).encode()).digest()).decode()
        assert parts[f"{tag}-src"] == f"'sha256-{digest}'"
    assert "unsafe" not in policy
    for asset in (page.one("style"), page.one("script")):
        assert "url(" not in asset
        assert "@import" not in asset
        assert "://" not in asset
        assert not re.search(r"innerHTML|insertAdjacent|document\.write|eval\(|fetch\(|XMLHttp|import\(", asset)


def test_nothing_but_found_addresses_is_linked(make: Make) -> None:
    page = dom(entry(make()))
    check_safe(page)
    links = [a for a, _ in page.all("a") if not (a["href"] or "").startswith("#")]
    assert [a["href"] for a in links] == ["https://a.example/1"]
    assert links[0]["rel"] == "noopener noreferrer nofollow"


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(make: Make, text: str) -> None:
    page = dom(everywhere(make, text))
    check_safe(page)
    assert shown(text).text in page.all("span", "what")[0][1]
    assert page.one("div", "words") == reveal(text)
    assert page.one("div", "prompt") == reveal(text)
    assert "49" not in page.all("span", "what")[0][1]


def everywhere(make: Make, text: str, spans: tuple[tuple[int, int], ...] = ()) -> ReportEntry:
    """A recommendation with `text` in every place that can hold foreign text."""
    tokens = [
        {"id": 1, "start": s, "end": e, "entropy": 1.0, "attention": 0.5, "score": 0.5, "pooled": 0.5, "word": text}
        | {"keyword": n % 2 == 0}
        for n, (s, e) in enumerate(spans or ((0, max(1, len(text) // 2)), (len(text) // 2, len(text))))
    ]
    base = make()
    page = base.pages[0].model_dump() | {"title": text, "url": text, "snippet": text, "time": text, "provider": text}
    recommendation = base.model_copy(
        update={
            "ranking": [base.ranking[0].model_copy(update={"title": text})],
            "query": text,
            "keywords": [text, text],
            "searches": [base.searches[0].model_copy(update={"provider": text, "query": text + "x", "error": text})],
            "pages": [base.pages[0].model_copy(update=page)],
            "prompt": base.prompt.model_copy(update={"text": text}),
            "reasoning": type(base.reasoning).model_construct(
                text=text, stop="limit", stop_list="none: " + text, tokens=[_token(base, t) for t in tokens]
            ),
            "backbone": base.backbone.model_copy(update={"name": text, "source": text, "device": text}),
            "head": text,
            "settings": {text: text, "language": text},
            "versions": {text: text},
            "warnings": [text],
        }
    )
    return ReportEntry(text, (text, text), recommendation, text)


def _token(base: Recommendation, values: dict[str, Any]) -> Any:
    assert base.reasoning
    return base.reasoning.tokens[0].model_copy(update=values)


@given(
    text=st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=12)), max_size=4).map("".join),
    spans=st.lists(st.tuples(st.integers(-1, 40), st.integers(-1, 45)), max_size=8),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_text_and_any_spans(make: Make, text: str, spans: list[tuple[int, int]]) -> None:
    page = dom(everywhere(make, text, tuple(spans)), entry(make()))
    check_safe(page)
    words = page.all("div", "words")
    if text:
        assert words[0][1] == reveal(text)


def test_reasoning_is_rendered_once_with_heat_and_keywords(make: Make) -> None:
    recommendation = make()
    assert recommendation.reasoning
    page = dom(entry(recommendation))
    assert page.one("div", "words") == recommendation.reasoning.text
    assert [(a.get("data-n"), t) for a, t in page.all("span", "kw")][:3] == [
        ("1", "dry"),
        ("2", "skin"),
        ("3", "multi-use"),
    ]
    tokens = page.all("span", "t")
    assert [a["data-t"] for a, _ in tokens] == [str(n) for n in range(11)]
    assert "h20" in (tokens[-1][0]["class"] or "").split()  # the highest product
    assert "The model ended here by itself." in page.one("div", "heat")
    assert "stop list “en”" in page.one("div", "heat")
    checked = [a["value"] for a, _ in page.all("input") if "checked" in a]
    assert checked == ["2"]


def test_tokens_inside_one_character_and_overlaps(make: Make) -> None:
    spans = ((0, 1), (0, 1), (1, 1), (1, 4), (2, 3), (3, 6), (9, 9))
    text = "😀 añb\n末尾 x"
    page = dom(everywhere(make, text, spans))
    assert page.one("div", "words") == text
    shown_tokens = " ".join(a["data-t"] or "" for a, _ in page.all("span", "t")).split()
    assert sorted(map(int, shown_tokens)) == list(range(7))


def test_reasoning_without_influence_falls_back_to_entropy(make: Make) -> None:
    tokens = [{"id": 1, "start": 0, "end": 4, "entropy": 2.0}]
    page = dom(entry(make(reasoning={"text": "look here", "stop": "repetition", "tokens": tokens})))
    states = {a["value"]: ("checked" in a, "disabled" in a) for a, _ in page.all("input")}
    assert states == {"0": (False, True), "1": (True, False), "2": (False, True), "3": (False, True)}
    assert "repeat itself" in page.one("div", "heat")
    assert "No stop list was used" in page.one("div", "heat")


@pytest.mark.parametrize(
    ("state", "word", "sentence"),
    [
        ("off", "Off", "Retrieval was off"),
        ("no_keywords", "No keyword", "held no keyword"),
        ("no_pages", "No page", "found no page"),
        ("found", "Found", "What the model read"),
    ],
)
def test_every_retrieval_state_is_in_words(make: Make, state: str, word: str, sentence: str) -> None:
    changes: dict[str, Any] = {} if state == "found" else {"pages": []}
    if state in {"off", "no_keywords"}:
        changes |= {"query": "", "keywords": [], "searches": []}
    if state == "off":
        changes["reasoning"] = None
    page = dom(entry(make(retrieval=state, **changes)))
    states = [t for _, t in page.all("span", f"state-{state}")]
    assert states == [word, word]  # in the strip and above the pages
    assert sentence in page.one("section", "web")
    assert f"Retrieval {word.lower()}" in " ".join(page.one("header", "entry-head").split())


def test_pages_show_what_was_read(make: Make) -> None:
    page = dom(entry(make()))
    snippets = page.all("p", "snippet")
    assert snippets[0][1] == "A dry note. Skinny jeans are no SKIN care; multi-use it is."
    assert len(page.all("span", "cut")) == 1
    assert page.one("span", "unread") == "inny jeans are no SKIN care; multi-use it is."
    assert [t for _, t in page.all("mark")] == ["Keywords", "dry", "SKIN", "multi-use"]
    assert "read 14 of 59 characters" in page.all("li", "kept")[0][1]
    assert "read in full" in page.all("li", "kept")[1][1]
    assert "its no. 4" in page.all("li", "page")[1][1]
    assert "brave answered 429" in page.one("ul", "searches")
    assert "found 2 pages" in page.one("ul", "searches")


def test_target_is_marked_whatever_its_rank(make: Make) -> None:
    many = [
        {"rank": n, "index": n, "title": f"T{n}", "score": -n, "mean": -n, "sum": -n, "tokens": 1, "probability": 0.01}
        for n in range(1, 101)
    ]
    page = dom(entry(make(ranking=many), target="t77 "))
    assert "T77" in page.one("li", "target")
    assert "rank 77 of 100" in page.one("p", "aim")
    assert "50 more candidates" in page.one("details", "fold")
    missing = dom(entry(make(), target="Elsewhere"))
    assert "not among the candidates: Elsewhere" in missing.one("p", "aim")
    assert not missing.all("li", "target")


def test_entries_about_the_same_user_are_compared(make: Make) -> None:
    first = make()
    swapped = [c.model_copy(update={"rank": r}) for c, r in zip(first.ranking, (2, 1, 3, 4), strict=True)]
    second = first.model_copy(update={"ranking": sorted(swapped, key=lambda c: c.rank)})
    page = dom(entry(first, "With"), entry(second, "Without"), entry(first, "Other user", history=("Tea",)))
    changes = [t for _, t in page.all("span", "change")]
    assert len(changes) == 8
    assert changes[0].startswith("▲")
    assert "1 place up from rank 2 in Without" in changes[0]
    assert "1 place down from rank 1 in Without" in changes[1]
    assert "unchanged from rank 3 in With" in changes[6]
    assert [a["href"] for a, _ in page.all("a") if (a.get("id") or "").startswith("tab-")] == [
        "#entry-1",
        "#entry-2",
        "#entry-3",
    ]


def test_older_history_is_told_apart(make: Make) -> None:
    page = dom(entry(make()))
    assert page.one("ol", "unused") == "Balm"
    assert "1 older item, not used" in page.all("details", "more")[0][1]


def test_ids_are_unique_and_links_inside_lead_somewhere(make: Make) -> None:
    page = dom(entry(make(), target="Lipstick"), entry(make(), "Two"))
    ids = [a["id"] for _, a, _ in page.elements if "id" in a]
    assert len(set(ids)) == len(ids)
    assert {(a["href"] or "")[1:] for a, _ in page.all("a") if (a["href"] or "").startswith("#")} <= set(ids)
    assert page.all("html")[0][0]["lang"] == "en"


def test_the_same_input_gives_the_same_page_and_none_is_refused(make: Make) -> None:
    assert render_report([entry(make())]) == render_report([entry(make())])
    with pytest.raises(ValueError, match="at least one"):
        render_report([])


def test_whole_prompts_as_queries_are_folded_not_marked(make: Make) -> None:
    words = [f"word{n}" for n in range(60)] + ["dry"]
    page = dom(entry(make(query=" ".join(words), keywords=words)))
    assert not page.all("mark")
    assert not page.all("ol", "chips")
    assert page.all("details", "long")


def test_numbers_are_for_people() -> None:
    values = [None, float("nan"), 0, 0.0739, 0.00001, -0.00001, 2.968, -13.102, 123.95, 1555]
    assert [number(v) for v in values] == ["–", "–", "0", "0.074", "<0.001", ">−0.001", "2.97", "−13.1", "124", "1,555"]
    assert [percent(v) for v in (0.0, 0.00002, 0.0922, 1.0)] == ["0%", "<0.1%", "9.2%", "100%"]


def test_hidden_characters_are_never_dropped_silently() -> None:
    assert reveal("a\u202eb\x1b\x00") == "a⟨U+202E⟩b⟨U+001B⟩⟨U+0000⟩"
    assert shown("a\u202eb").altered
    assert not shown("  a \n b ").altered
    assert reveal("a\u200db\n") == "a\u200db\n"


def test_keywords_are_marked_as_whole_words_in_any_script() -> None:
    text = "Skinny SKIN (skin). 保湿クリーム"
    found = [text[a:b] for a, b in keyword_spans(text, ["skin,", "保湿", "a"])]
    assert found == ["SKIN", "skin", "保湿"]
