"""Many clients at once against the served graph: results, waiting times, memory, what a client that leaves gives back, a killed server.

    python -m webrec.eval.bench_load --output eval/results/bench_load.json

Every result is compared with that of the same request sent alone before the load.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from webrec.eval.provenance import provenance
from webrec.eval.served import Served
from webrec.eval.small_backbone import write_small_backbone
from webrec.models.turns import IDLE_SECONDS

CLIENTS, RUNS, JOBS = 50, 500, 10
LEAVING, CANCELLED = 10, 15
"""Of how many runs one client hangs up, and one is cancelled: these come on top of the runs that are counted."""

RESTS = 50
"""Runs between two looks at the memory while nothing is under way."""

AT_REST = IDLE_SECONDS + 1
"""Seconds without a run before its memory is looked at."""

BUSY = re.compile(r"busy: \d+ .* retry after (\d+) s$")
TOLERANCE = 1e-3  # nats


def requests_of(count: int) -> list[dict[str, list[str]]]:
    """Made-up users: films of the packaged examples in other orders."""
    from webrec import examples

    films = json.loads((Path(examples.__file__).parent / "films.json").read_text("utf-8"))
    titles = [*films["history"], *films["candidates"]]
    chosen = []
    for seed in range(count):
        order = random.Random(seed).sample(titles, len(titles))  # noqa: S311 - a sample, not a secret
        chosen.append({"history": order[:6], "candidates": order[6:]})
    return chosen


class Load:
    """What happened to the runs of one load, and the server's memory meanwhile."""

    def __init__(self, served: Served, context: dict[str, Any], requests: list[dict[str, list[str]]]) -> None:
        self.served, self.context, self.requests = served, context, requests
        self.alone: list[dict[str, Any]] = []
        self.outcomes: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.seconds: list[float] = []
        self.memory: list[tuple[int, float]] = []
        self.most_threads = 0
        self._begun = 0

    async def reference(self, client: httpx.AsyncClient) -> None:
        """Each request alone."""
        for request in self.requests:
            self.alone.append(await self.ask(client, request))

    async def ask(self, client: httpx.AsyncClient, request: dict[str, list[str]], patience: float = 900) -> Any:
        """One run without a thread, as `POST /runs/wait` answers it."""
        body = {"assistant_id": "webrec", "input": request, "context": self.context, "on_disconnect": "cancel"}
        answer = await client.post(f"{self.served.url}/runs/wait", json=body, timeout=patience)
        answer.raise_for_status()
        return answer.json()

    async def client(self, client: httpx.AsyncClient, runs: int) -> None:
        """Asks until `runs` runs are complete, beside other clients that do the same."""
        while self._begun < runs:
            self._begun += 1
            number = self._begun
            if number % LEAVING == 0:
                await self._leave(client, number)
            if number % CANCELLED == 0:
                await self._cancel(client, number)
            await self._complete(client, number)

    async def _complete(self, client: httpx.AsyncClient, number: int) -> None:
        place = number % len(self.requests)
        began = time.monotonic()
        while True:
            try:
                result = await self.ask(client, self.requests[place])
            except httpx.HTTPError as error:
                self._wrong(f"{type(error).__name__}: {error}")
                break
            refused = result.get("__error__")
            if refused is None:
                difference = different(result, self.alone[place])
                self.outcomes["correct" if difference is None else "wrong"] += 1
                if difference is not None:
                    self.wrong.append(difference)
                break
            busy = BUSY.search(refused.get("message", ""))
            if refused.get("error") != "BusyError" or busy is None:
                self._wrong(json.dumps(refused))
                break
            self.outcomes["busy"] += 1
            await asyncio.sleep(int(busy[1]))
        self.seconds.append(time.monotonic() - began)
        if len(self.seconds) % 10 == 0:
            self.memory.append((len(self.seconds), self.served.resident()))
            self.most_threads = max(self.most_threads, self.served.threads())

    def _wrong(self, what: str) -> None:
        self.outcomes["wrong"] += 1
        self.wrong.append(what)

    async def _leave(self, client: httpx.AsyncClient, number: int) -> None:
        """Hang up after a moment, which cancels the run."""
        try:
            await self.ask(client, self.requests[number % len(self.requests)], patience=0.2 + number % 7 / 10)
        except httpx.TimeoutException:
            self.outcomes["left"] += 1
        except httpx.HTTPError as error:
            self._wrong(f"leaving: {type(error).__name__}: {error}")

    async def _cancel(self, client: httpx.AsyncClient, number: int) -> None:
        """Cancel a run of a thread, then remove the thread."""
        url = self.served.url
        thread = (await client.post(f"{url}/threads", json={}, timeout=60)).json()["thread_id"]
        body = {"assistant_id": "webrec", "input": self.requests[number % len(self.requests)], "context": self.context}
        run = (await client.post(f"{url}/threads/{thread}/runs", json=body, timeout=60)).json()["run_id"]
        await asyncio.sleep(0.2 + number % 7 / 10)
        answer = await client.post(f"{url}/threads/{thread}/runs/{run}/cancel", params={"wait": "true"}, timeout=300)
        self.outcomes["cancelled" if answer.is_success else "ended before it was cancelled"] += 1
        await client.delete(f"{url}/threads/{thread}", timeout=60)


def different(result: dict[str, Any], alone: dict[str, Any]) -> str | None:
    """What differs, None if nothing does but rounding."""
    if "__error__" in result:
        return json.dumps(result["__error__"])
    if result["keywords"] != alone["keywords"]:
        return f"keywords {result['keywords']} instead of {alone['keywords']}"
    own, other = ({r["title"]: r["score"] for r in answer["ranking"]} for answer in (result, alone))
    if own.keys() != other.keys():
        return "other titles"
    far = max(abs(own[title] - other[title]) for title in own)
    return None if far <= TOLERANCE else f"scores that are {far:.2g} nats off"


def growth(memory: list[tuple[int, float]], since: int = 100) -> float | None:
    """MB per 100 runs from run `since` on: the median slope over all pairs, which what is held for a moment does not move."""
    chosen = [(runs, used) for runs, used in memory if runs >= since]
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for n, a in enumerate(chosen) for b in chosen[n + 1 :]]
    return 100 * statistics.median(slopes) if slopes else None


async def _load(served: Served, context: dict[str, Any], clients: int, runs: int, users: int) -> dict[str, Any]:
    load = Load(served, context, requests_of(users))
    # The server closes what is idle for five seconds, and resets what then arrives: a client has to let go earlier.
    limits = httpx.Limits(max_connections=None, keepalive_expiry=2)
    async with httpx.AsyncClient(limits=limits) as client:
        await load.reference(client)
        took, rest = 0.0, []
        for until in sorted({*range(RESTS, runs, RESTS), runs}):
            began = time.monotonic()
            await asyncio.gather(*(load.client(client, until) for _ in range(clients)))
            took += time.monotonic() - began
            freed = await _freed(served)
            await asyncio.sleep(AT_REST)
            rest.append((until, served.resident()))
        freed = await _freed(served)
        after = await load.ask(client, load.requests[0])
        kill = await _killed(load, client, clients)
    grown = growth(rest)
    p50, p95 = np.percentile(load.seconds, [50, 95])
    return {
        "outcomes": dict(load.outcomes),
        "wrong": load.wrong[:20],
        "seconds": round(took, 1),
        "seconds_p50": round(float(p50), 2),
        "seconds_p95": round(float(p95), 2),
        "memory_mb": [[number, round(used, 1)] for number, used in load.memory],
        "memory_at_rest_mb": [[number, round(used, 1)] for number, used in rest],
        "memory_growth_mb_per_100_runs": None if grown is None else round(grown, 2),
        "most_threads": load.most_threads,
        "slots_after": freed,
        "correct_after": different(after, load.alone[0]) is None,
        "killed": kill,
    }


async def _freed(served: Served, patience: float = 60) -> dict[str, Any]:
    """The slots in use once no client asks any more, and how long that took."""
    began = time.monotonic()
    while any((held := served.under_way()).values()) and time.monotonic() - began < patience:  # noqa: ASYNC110
        await asyncio.sleep(0.2)
    return {**held, "seconds": round(time.monotonic() - began, 1)}


async def _killed(load: Load, client: httpx.AsyncClient, clients: int) -> dict[str, Any]:
    """Kill the server in mid-load, start it again, and ask: seconds until it answers, and until the first result."""

    async def ask(number: int) -> Any:
        try:
            return await load.ask(client, load.requests[number % len(load.requests)])
        except httpx.HTTPError as error:
            return error

    tasks = [asyncio.create_task(ask(number)) for number in range(clients)]
    await asyncio.sleep(1)
    load.served.kill()
    told = sum(isinstance(answer, httpx.HTTPError) for answer in await asyncio.gather(*tasks))
    began = time.monotonic()
    await asyncio.to_thread(load.served.start)
    up = time.monotonic() - began
    result = await load.ask(client, load.requests[0])
    first = time.monotonic() - began
    return {
        "clients": clients,
        "clients_that_saw_the_connection_fail": told,
        "seconds_to_answer": round(up, 1),
        "seconds_to_first_result": round(first, 1),
        "correct": different(result, load.alone[0]) is None,
        "slots_after": await _freed(load.served),
    }


def measure_load(
    backbone: str | None, *, clients: int = CLIENTS, runs: int = RUNS, jobs: int = JOBS, users: int = 12
) -> dict[str, Any]:
    """The whole measurement on a server of its own. `backbone` None: two layers of random weights."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        server = folder / "server"
        server.mkdir()
        chosen = backbone or str(write_small_backbone(folder / "small"))
        context = {"backbone": chosen, "dtype": "float32", "providers": ["sample"], "reasoning_tokens": 32}
        served = Served(server, jobs)
        served.start()
        try:
            report = asyncio.run(_load(served, context, clients, runs, users))
            report["blocking_calls"] = served.log().count("BlockingError")
        finally:
            served.kill()
    about = {
        "backbone": backbone or "two layers, random weights",
        "clients": clients,
        "runs": runs,
        "jobs": jobs,
        "users": users,
        **provenance("torch", "langgraph", "langgraph-api"),
    }
    return about | report


def load_table(report: dict[str, Any]) -> str:
    """What came of the load, one line each."""
    outcomes = ", ".join(f"{count} {name}" for name, count in sorted(report["outcomes"].items()))
    first, last = report["memory_at_rest_mb"][0], report["memory_at_rest_mb"][-1]
    killed, slots = report["killed"], report["slots_after"]
    rows = [
        ("clients, jobs at a time", f"{report['clients']}, {report['jobs']}"),
        ("backbone", report["backbone"]),
        ("outcomes", outcomes),
        ("seconds a run, waiting included: median, 95 %", f"{report['seconds_p50']}, {report['seconds_p95']}"),
        (f"memory at rest after run {first[0]}, {last[0]}, MB", f"{first[1]:.0f}, {last[1]:.0f}"),
        ("memory from run 100 on, MB per 100 runs", f"{report['memory_growth_mb_per_100_runs']}"),
        ("most threads", str(report["most_threads"])),
        ("slots held when all clients were gone", str(slots["active"] + slots["pending"] + slots["running"])),
        (
            "killed in mid-load: seconds from its restart to the first result",
            f"{killed['seconds_to_first_result']}",
        ),
    ]
    return "\n".join(["| | |", "| --- | --- |", *(f"| {what} | {found} |" for what, found in rows)]) + "\n"


def main() -> None:
    """Measure, print as JSON, and write it where `--output` says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--clients", type=int, default=CLIENTS, help="clients at a time (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=RUNS, help="runs that must be complete (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=JOBS, help="--n-jobs-per-worker (default: %(default)s)")
    parser.add_argument("--users", type=int, default=12, help="different requests (default: %(default)s)")
    parser.add_argument("--backbone", help="as in the settings; two layers of random weights if not given")
    parser.add_argument("--output", type=Path, help="file to write the result to, as JSON")
    chosen = parser.parse_args()
    report = measure_load(
        chosen.backbone, clients=chosen.clients, runs=chosen.runs, jobs=chosen.jobs, users=chosen.users
    )
    text = json.dumps(report, indent=1)
    sys.stdout.write(text + "\n")
    if chosen.output is not None:
        chosen.output.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
