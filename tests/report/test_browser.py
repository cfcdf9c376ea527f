"""The report in a real browser: nothing is loaded, nothing foreign runs, it fits a phone, keys work."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from webrec.nodes.schema import Recommendation
from webrec.report.html import ReportEntry, render_report

pytestmark = pytest.mark.slow

HOSTILE = (
    "</script><script>document.title='ran'</script>",
    '"><img src=https://evil.example/x.png onerror="document.title=\'ran\'">',
    "javascript:document.title='ran'",
    "</style><link rel=stylesheet href=https://evil.example/x.css><style>@import 'https://evil.example/y.css';",
    "<base href=https://evil.example><meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<iframe src=https://evil.example srcdoc='<script>top.document.title=1</script>'></iframe><!--",
    "{{7*7}} ]]> \x1b[31m \u202eright \u200b \x00 <!--",
    "W" * 400,
)
LEFT, RIGHT, HOME, END = ("ArrowLeft", 37), ("ArrowRight", 39), ("Home", 36), ("End", 35)


@pytest.fixture
def files(make: Callable[..., Recommendation], tmp_path: Path) -> dict[str, Path]:
    base = make()
    first, reasoning = base.pages[0], base.reasoning
    assert reasoning
    joined = " ".join(HOSTILE)
    hostile = base.model_copy(
        update={
            "ranking": [c.model_copy(update={"title": f"{HOSTILE[n % 8]}{n}"}) for n, c in enumerate(base.ranking * 5)],
            "pages": [
                first.model_copy(update={"title": h, "url": h, "snippet": h * 2, "provider": h}) for h in HOSTILE
            ],
            "reasoning": reasoning.model_copy(update={"text": joined}),
            "keywords": list(HOSTILE),
            "query": joined,
            "warnings": list(HOSTILE),
            "settings": dict.fromkeys(HOSTILE, joined),
        }
    )
    pages = {
        "plain": [ReportEntry("Alone", ("Balm", "Soap"), base, "Lipstick")],
        "two": [
            ReportEntry("With pages", ("Balm", "Soap"), base, "Lipstick"),
            ReportEntry("Without", ("Balm", "Soap"), make(retrieval="off", pages=[], reasoning=None, query="")),
        ],
        "hostile": [ReportEntry(h, HOSTILE, hostile, HOSTILE[0] + "0") for h in HOSTILE],
    }
    written = {name: tmp_path / f"{name}.html" for name in pages}
    for name, entries in pages.items():
        written[name].write_text(render_report(entries), "utf-8")
    return written


@pytest.fixture(autouse=True)
def reset(page: Any) -> Iterator[None]:
    page.size(1280)
    page.scripts(True)
    page.colours("light")
    yield
    page.scripts(True)


@pytest.mark.parametrize("name", ["plain", "two", "hostile"])
def test_only_the_file_is_requested_and_nothing_foreign_runs(page: Any, files: dict[str, Path], name: str) -> None:
    page.open(files[name])
    assert page.problems() == []
    for link in page.evaluate("[...document.querySelectorAll('a[href^=\"#\"]')].map(a => (a.click(), a.href))"):
        assert link.startswith("file:")
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    page.evaluate("new Promise(done => setTimeout(done, 300))")
    assert page.requests() == [files[name].as_uri()]
    assert [e for e in page.problems() if e["method"] != "Audits.issueAdded"] == []
    assert page.evaluate("document.title") == "WebRec report"
    assert page.evaluate("document.querySelectorAll('script').length") == 1
    assert page.evaluate("document.querySelectorAll('img,iframe,link,base,object,embed,form').length") == 0
    assert page.evaluate("document.querySelectorAll('a[href^=\"javascript:\"]').length") == 0


def test_the_policy_stops_what_would_be_injected(page: Any, files: dict[str, Path]) -> None:
    page.open(files["plain"])
    for attempt in (
        "{ const i = document.createElement('img'); i.src = 'https://evil.example/x.png'; document.body.append(i); }",
        "{ const s = document.createElement('script'); s.text = \"document.title = 'ran'\"; document.body.append(s); }",
        "document.body.setAttribute('onclick', \"document.title = 'ran'\"); document.body.click();",
        "document.body.innerHTML += '<b>more</b>'",
        "document.body.setAttribute('style', 'display:none')",
        "fetch('https://evil.example/')",
    ):
        page.call("Runtime.evaluate", expression=attempt)  # some are refused with an exception
    page.evaluate("new Promise(done => setTimeout(done, 300))")
    assert page.evaluate("document.title") == "WebRec report"
    assert page.evaluate("getComputedStyle(document.body).display") == "block"
    assert page.evaluate("document.body.querySelectorAll('b').length > 0 && !document.body.innerText.endsWith('more')")
    sent = {e["params"]["requestId"] for e in page.events if e.get("method") == "Network.responseReceived"}
    refused = [e["params"] for e in page.events if e.get("method") == "Network.loadingFailed"]
    assert len(sent) == 1  # the file
    assert {r["blockedReason"] for r in refused} == {"csp"}
    assert page.problems()


def test_a_browser_of_its_own_dumps_an_unchanged_title(files: dict[str, Path], page: Any, tmp_path: Path) -> None:
    done = subprocess.run(
        [page.binary, *page.flags, f"--user-data-dir={tmp_path / 'own'}", "--dump-dom", files["hostile"].as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "<title>WebRec report</title>" in done.stdout
    assert done.stdout.count("<script>") == 1


@pytest.mark.parametrize("scripts", [True, False])
@pytest.mark.parametrize("width", [360, 500, 768, 1000, 1280, 1920])
@pytest.mark.parametrize("name", ["two", "hostile"])
def test_no_width_scrolls_sideways(page: Any, files: dict[str, Path], name: str, width: int, scripts: bool) -> None:
    page.size(width, phone=width < 500)
    page.scripts(scripts)
    page.open(files[name])
    page.scripts(True)
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert page.evaluate("innerWidth") == width
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_tabs_by_key_and_by_address(page: Any, files: dict[str, Path]) -> None:
    page.open(files["two"])
    visible = "[...document.querySelectorAll('.entry')].map(e => e.offsetHeight > 0)"
    assert page.evaluate(visible) == [True, False]
    page.evaluate("document.querySelector('[role=tab]').focus()")
    page.key(*RIGHT)
    assert page.evaluate(visible) == [False, True]
    assert page.evaluate("document.activeElement.getAttribute('aria-selected')") == "true"
    page.key(*RIGHT)
    assert page.evaluate(visible) == [True, False]
    page.evaluate("new Promise(done => { location.hash = 'entry-2-ranking'; setTimeout(done, 200); })")
    assert page.evaluate(visible) == [False, True]


def test_many_entries_come_as_a_menu(page: Any, files: dict[str, Path]) -> None:
    page.open(files["hostile"])
    assert page.evaluate("document.querySelector('.tabs').offsetHeight") == 0
    page.evaluate(
        "(() => { const m = document.querySelector('select'); m.value = 'entry-3'; m.dispatchEvent(new Event('change')); })()"
    )
    assert page.evaluate("[...document.querySelectorAll('.entry')].findIndex(e => e.offsetHeight > 0)") == 2


def test_views_recolour_and_tokens_tell_their_numbers(page: Any, files: dict[str, Path]) -> None:
    page.open(files["plain"])
    levels = "[...document.querySelectorAll('.t')].map(t => Number(/\\bh(\\d+)/.exec(t.className)[1]))"
    words = "document.querySelector('.words').textContent"
    text = page.evaluate(words)
    seen = [page.evaluate(levels)]
    page.evaluate("document.querySelector('.views input:checked').focus()")
    for key in (LEFT, LEFT, RIGHT, RIGHT, RIGHT):
        page.key(*key)
        seen.append(page.evaluate(levels))
        assert len(page.evaluate("[...document.querySelectorAll('.kw[data-n]')].map(k => k.dataset.n)")) == 3
    entropy, attention, _, product, pooled = seen[1:]
    assert product == seen[0]
    assert len({tuple(view) for view in (entropy, attention, product, pooled)}) >= 3
    assert max(attention) == max(pooled) == 20
    assert page.evaluate("document.querySelector('.top-value').textContent") == "0.100"
    page.evaluate("document.querySelector('.t').focus()")
    page.key(*RIGHT)
    page.key(*RIGHT)
    said = page.evaluate("document.querySelector('.readout').innerText")
    assert "dry" in said
    assert "attention 0.030" in said
    assert "entropy 2 nats" in said or "entropy 2.00" in said
    page.key(*END)
    assert page.evaluate("document.activeElement.dataset.t") == "10"
    page.key(*HOME)
    assert page.evaluate("document.activeElement.dataset.t") == "0"
    spot = page.evaluate(
        "(r => [r.x + r.width / 2, r.y + r.height / 2])(document.querySelectorAll('.t')[4].getBoundingClientRect())"
    )
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=spot[0], y=spot[1])
    assert "creams" in page.evaluate("document.querySelector('.readout').innerText")
    assert page.evaluate(words) == text


def test_without_scripts_everything_but_the_switches_is_there(page: Any, files: dict[str, Path]) -> None:
    page.scripts(False)
    page.open(files["two"])
    page.scripts(True)
    assert page.evaluate("[...document.querySelectorAll('.entry')].every(e => e.offsetHeight > 300)")
    assert (
        page.evaluate(
            "document.querySelector('.views').offsetHeight + document.querySelector('.open-all').offsetHeight"
        )
        == 0
    )
    colours = page.evaluate("[...document.querySelectorAll('.t')].map(t => getComputedStyle(t).backgroundColor)")
    assert len(set(colours)) > 4
    assert page.evaluate("document.querySelector('.bar .fill').getBoundingClientRect().width") > 100


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_contrasts_with_its_ground(page: Any, files: dict[str, Path], scheme: str) -> None:
    page.colours(scheme)
    page.open(files["two"])
    ratios = page.evaluate(CONTRAST)
    assert ratios
    low = {name: ratio for name, ratio in ratios.items() if ratio < 4.5}
    assert not low


# Each class of text against the opaque colours behind it, blended; the lowest WCAG ratio per class.
CONTRAST = """(() => {
  const parse = (c) => (c.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
  const over = (top, under) => { const a = top[3] ?? 1; return [0, 1, 2].map((i) => top[i] * a + under[i] * (1 - a)); };
  const light = (c) => { const [r, g, b] = c.map((v) => v / 255).map((v) => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b; };
  const out = {};
  document.querySelectorAll('details').forEach((d) => { d.open = true; });
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.offsetHeight || e.closest('.hear, .skip, option')) continue;
    const chain = []; for (let n = e; n; n = n.parentElement) chain.unshift(parse(getComputedStyle(n).backgroundColor));
    const ground = chain.reduce((under, top) => over(top, under), [255, 255, 255]);
    const ink = over(parse(getComputedStyle(e).color), ground);
    const [a, b] = [light(ink), light(ground)];
    const name = e.tagName + '.' + e.className;
    out[name] = Math.min(out[name] ?? 99, (Math.max(a, b) + .05) / (Math.min(a, b) + .05));
  }
  return out;
})()"""
