"""`langgraph dev` as `make studio` starts it, in a folder and process group of its own, and what it takes of the machine."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from webrec.models.allocator import ENVIRONMENT

_ROOT = Path(__file__).parents[1]
_ENVIRONMENT = {
    "LANGGRAPH_CLI_NO_ANALYTICS": "1",
    "LANGGRAPH_NO_VERSION_CHECK": "true",
    "LANGSMITH_TRACING": "false",
    "GOMP_SPINCOUNT": "10000",
    **ENVIRONMENT,
}


class Served:
    """One server. `folder` is where it keeps its state and log; `start` may be called again after `kill`."""

    def __init__(self, folder: Path, jobs: int) -> None:
        self._folder, self._jobs = folder, jobs
        for name in ("langgraph.json", "pyproject.toml"):
            shutil.copy(_ROOT / name, folder)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, patience: float = 120) -> None:
        """Returns once it answers. Raises `RuntimeError` with the end of its log if it does not."""
        command = [str(Path(sys.executable).with_name("langgraph")), "dev", "--no-browser", "--no-reload"]
        command += ["--port", str(self._port), "--n-jobs-per-worker", str(self._jobs)]
        log = self._folder / "log"
        with log.open("ab") as sink:
            self._process = subprocess.Popen(  # noqa: S603 - this installation's own command
                command,
                cwd=self._folder,
                stdout=sink,
                stderr=sink,
                env={**os.environ, **_ENVIRONMENT},
                start_new_session=True,
            )
        end = time.monotonic() + patience
        while time.monotonic() < end and self._process.poll() is None:
            try:
                if httpx.get(f"{self.url}/ok", timeout=1).is_success:
                    return
            except httpx.HTTPError:
                time.sleep(0.05)
        self.kill()
        raise RuntimeError(f"the server did not start:\n{log.read_text('utf-8')[-2000:]}")

    def kill(self) -> None:
        """SIGKILL, as a machine that fails does it."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def resident(self) -> float:
        """Memory of the server's processes, MB (10^6 bytes)."""
        return sum(_status(pid).get("VmRSS", 0) for pid in self._pids()) * 1024 / 1e6

    def threads(self) -> int:
        """How many threads its processes have."""
        return sum(_status(pid).get("Threads", 0) for pid in self._pids())

    def under_way(self) -> dict[str, Any]:
        """Runs that hold a slot or wait for one, as the server counts them: `active`, `pending`, `running`."""
        found = httpx.get(f"{self.url}/metrics", params={"format": "json"}, timeout=30).json()
        queue = found["queue"]
        return {"active": found["workers"]["active"], "pending": queue["n_pending"], "running": queue["n_running"]}

    def log(self) -> str:
        """What it has said so far."""
        return (self._folder / "log").read_text("utf-8")

    def _pids(self) -> list[int]:
        assert self._process is not None
        pids = [self._process.pid]
        for pid in pids:  # grows while children are found
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                pids += [int(child) for child in children.read_text("ascii").split()]
        return pids


def _status(pid: int) -> dict[str, int]:
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    pairs = (line.split(":", 1) for line in lines)
    return {name: int(value.split()[0]) for name, value in pairs if name in {"VmRSS", "VmHWM", "Threads"}}


def resident_mb() -> float:
    """Memory of this process, MB (10^6 bytes)."""
    return _status(os.getpid())["VmRSS"] * 1024 / 1e6


def peak_mb() -> float:
    """The most memory that this process took since the last call, MB (10^6 bytes); Linux alone tells."""
    peak = _status(os.getpid())["VmHWM"]
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    return peak * 1024 / 1e6
