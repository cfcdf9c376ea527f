"""The report of an evaluation in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from webrec.eval.report.write import write_report

from ..finished_runs import finished  # noqa: TID252
from .conftest import Page, chromium

pytestmark = [pytest.mark.slow, pytest.mark.skipif(chromium() is None, reason="Chromium is not installed")]


@pytest.mark.parametrize("text", ["Soap", "</style><img src=https://evil.example/x.png onerror=alert(1)>" * 3])
def test_it_loads_nothing_runs_nothing_and_fits(text: str, tmp_path: Path) -> None:
    html = write_report([finished(text)], tmp_path)[0]
    with Page(tmp_path / "profile") as page:
        for width, phone in ((1280, False), (390, True)):
            page.size(width, phone=phone)
            page.open(html)
            assert page.requests() == [html.as_uri()]
            assert page.problems() == []
            page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("document.querySelectorAll('svg.plot').length") >= 4
