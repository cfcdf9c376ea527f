"""fetch: the main text of the pages behind the results, where it may be had; the snippet stays where not."""

from __future__ import annotations

from webrec.nodes.edited import pages_of
from webrec.nodes.run import Run, Update
from webrec.nodes.search import pool_size
from webrec.nodes.state import State
from webrec.tools.fetching.recorded import fetch_recorded
from webrec.tools.reading.dates import later


async def fetch(state: State, run: Run) -> Update:
    """Write into `pages` the text that was fetched, and what came of it. At most as many as are asked of one provider.

    Of the dates that provider and page state, the later one counts: a page may have changed since it was found. Raises
    `NotRecordedError` in a replay for a page that was not recorded.
    """
    pages = pages_of(state)
    wanted = [p.url for p in pages if p.url][: pool_size(run.context)]
    fetched = {page.url: page for page in await fetch_recorded(wanted, run.context)}
    for page in pages:
        if (found := fetched.get(page.url)) is not None:
            page.text = found.text
            page.time = later(page.time, found.time)
            page.fetched = found.reason or found.status
    run.emit("fetched", pages=sum(bool(p.text) for p in pages), asked=len(wanted))
    return {"pages": [p.model_dump() for p in pages]}
