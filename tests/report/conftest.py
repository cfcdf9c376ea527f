"""What the report tests share: made-up recommendations, and headless Chromium over the DevTools pipe (no port, no client)."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from webrec.nodes.schema import Recommendation

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
# Chromium reads commands from descriptor 3 and answers on 4.
_LAUNCH = "import os,sys; os.dup2(int(sys.argv[1]),3); os.dup2(int(sys.argv[2]),4); os.execvp(sys.argv[3],sys.argv[3:])"


def chromium() -> str | None:
    """The browser's path, if it is installed."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page:
    """One tab of a browser of its own. Everything that it asks of the network or logs is kept in `events`."""

    def __init__(self, profile: Path) -> None:
        binary = chromium()
        assert binary
        self.binary, self.flags = binary, tuple(f for f in FLAGS if f != "--remote-debugging-pipe")
        near_in, far_out = os.pipe()
        far_in, near_out = os.pipe()
        ours = [fcntl.fcntl(fd, fcntl.F_DUPFD, 20) for fd in (far_in, far_out)]
        for fd in (far_in, far_out):
            os.close(fd)
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                _LAUNCH,
                *map(str, ours),
                binary,
                *FLAGS,
                f"--user-data-dir={profile}",
                "about:blank",
            ],
            pass_fds=ours,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for fd in ours:
            os.close(fd)
        self._in, self._out = near_in, near_out
        self._buffer = b""
        self._count = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "Audits"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        self._session = None
        try:
            self.call("Browser.close")
            self._process.wait(10)
        except (OSError, subprocess.TimeoutExpired, TimeoutError):
            self._process.kill()
            self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def _read(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not select.select([self._in], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError("Chromium did not answer")
            data = os.read(self._in, 1 << 16)
            if not data:
                raise OSError("Chromium ended")
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + 60
        while True:
            answer = self._read(deadline)
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def wait(self, event: str) -> None:
        deadline = time.monotonic() + 60
        while not any(e.get("method") == event for e in self.events):
            self.events.append(self._read(deadline))

    def open(self, file: Path) -> None:
        self.events.clear()
        self.call("Page.navigate", url=file.as_uri())
        self.wait("Page.loadEventFired")

    def size(self, width: int, height: int = 900, *, phone: bool = False) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)

    def colours(self, scheme: str) -> None:
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def scripts(self, on: bool) -> None:
        self.call("Emulation.setScriptExecutionDisabled", value=not on)

    def evaluate(self, expression: str) -> Any:
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def key(self, key: str, code: int, text: str = "") -> None:
        for kind in ("keyDown", "keyUp"):
            extra = {"text": text} if text and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **extra)

    def screenshot(self, file: Path, *, full: bool = True) -> None:
        data = self.call("Page.captureScreenshot", captureBeyondViewport=full)["data"]
        file.write_bytes(base64.b64decode(data))

    def requests(self) -> list[str]:
        """Addresses the page asked for since it was opened."""
        return [e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]

    def problems(self) -> list[dict[str, Any]]:
        """Script errors, log entries and content-security issues since the page was opened."""
        wanted = {"Runtime.exceptionThrown", "Log.entryAdded", "Audits.issueAdded", "Page.javascriptDialogOpening"}
        return [e for e in self.events if e.get("method") in wanted]


TEXT = "They like dry skin creams, multi-use ones."
SPANS = ((0, 4, None), (4, 9, None), (9, 13, "dry"), (13, 18, "skin"), (18, 25, None), (25, 26, None))
SPANS += ((26, 32, "multi-use"), (32, 33, "multi-use"), (33, 36, "multi-use"), (36, 41, None), (41, 42, None))
SNIPPET = "A dry note. Skinny jeans are no SKIN care; multi-use it is."
TITLES = ("Rich Cream", "Day Fluid", "Hair Trimmer", "Lipstick")


def make_recommendation(**changes: Any) -> Recommendation:
    """A full recommendation; `changes` replace its fields."""
    tokens = [
        {
            "id": n,
            "start": start,
            "end": end,
            "entropy": 1.0 + n / 2,
            "attention": 0.01 * (n + 1),
            "score": 0.01 * (n + 1) * (1.0 + n / 2),
            "pooled": 0.01 * n,
            "word": word,
            "keyword": word is not None,
        }
        for n, (start, end, word) in enumerate(SPANS)
    ]
    page = {"provider": "sample", "score": 12.5, "time": "2025-01-08", "similarity": None}
    fields: dict[str, Any] = {
        "ranking": [
            {
                "rank": n,
                "index": n,
                "title": t,
                "score": -n,
                "mean": -n,
                "sum": -3 * n,
                "tokens": 3,
                "probability": 0.4 / n,
            }
            for n, t in enumerate(TITLES, 1)
        ],
        "retrieval": "found",
        "query": "dry skin multi-use",
        "keywords": ["dry", "skin", "multi-use"],
        "reasoning": {"text": TEXT, "stop": "end", "stop_list": "en", "tokens": tokens},
        "searches": [
            {"provider": "sample", "query": "dry skin multi-use", "found": 2, "error": None},
            {"provider": "brave", "query": "dry skin", "found": 0, "error": "brave answered 429"},
        ],
        "pages": [
            {
                **page,
                "title": "Notes",
                "url": "https://a.example/1",
                "snippet": SNIPPET,
                "rank": 1,
                "found_rank": 1,
                "kept": 14,
            },
            {**page, "title": "Whole", "url": "", "snippet": "Short.", "rank": 2, "found_rank": 4, "kept": 6},
        ],
        "prompt": {
            "text": "Recommend.\nWebsites: [1]",
            "tokens": 1555,
            "limit": 8192,
            "history_used": 2,
            "pages_shortened": 1,
            "pages_dropped": 0,
        },
        "backbone": {"name": "tiny", "source": "test", "dtype": "float32", "device": "cpu"},
        "head": "none",
        "settings": {"language": "en", "providers": ["sample", "brave"], "revision": None, "retrieval": True},
        "versions": {"webrec": "0.1.0"},
        "warnings": ["brave answered 429; the other providers' pages were used"],
    }
    return Recommendation.model_validate({**fields, **changes})


@pytest.fixture(scope="session")
def make() -> Callable[..., Recommendation]:
    return make_recommendation


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    if chromium() is None:
        pytest.skip("needs Chromium (chromium, chromium-browser or google-chrome on the PATH)")
    with Page(tmp_path_factory.mktemp("profile")) as opened:
        yield opened
