"""One evaluation in one process, on two actors, and on two machines; and when any of them is killed."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

pytest.importorskip("ray")
pytest.importorskip("peft")

import pyarrow.parquet as pq

from webrec.errors import ConfigurationError
from webrec.eval.evaluation.config import RayConfig, read_eval_config
from webrec.eval.evaluation.run import evaluate

from .runs import write_config

WEBREC = Path(sys.executable).parent / "webrec"
USERS = 48


class Service(ThreadingHTTPServer):
    """A SearXNG that counts what it is asked; the same query gets the same pages."""

    daemon_threads = True

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.shift = 0
        super().__init__(("127.0.0.1", 0), _Answer)


class _Answer(BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)["q"][0]
        self.server.asked[query] += 1
        number = int(hashlib.sha256(query.encode()).hexdigest(), 16) % 400 + self.server.shift
        found = [
            {"title": f"Thing {number + n}", "url": f"https://x.example/{number + n}", "content": f"On {n}"}
            for n in range(4)
        ]
        body = json.dumps({"results": found}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def written(folder: Path, backbone: Path, service: Service) -> Path:
    """A configuration: keywords from the backbone's tokens, a live search, one language model as it is and one tuned."""
    model = {"backbone": str(backbone), "dtype": "float32"}
    training = {"epochs": 1, "batch_size": 4, "warmup_steps": 1, "validate_every": 2, "checkpoint_every": 1}
    reading = {"kind": "llm", **model, "retrieval": "keywords", "prompt": {"pages": 2}}
    search = {
        "providers": ["searxng"],
        "searxng_url": f"http://127.0.0.1:{service.server_address[1]}",
        "reasoning_tokens": 12,
        "search_store": str(folder / "store.sqlite"),
    }
    return write_config(
        folder,
        data=[
            {"path": "films", "min_interactions": 0, "test_users": USERS, "draws": 1, "tuning_examples": 12},
        ],
        retrievals=[{"name": "keywords", **model, **search}],
        systems=[
            "random",
            {**reading, "name": "rag"},
            {**reading, "name": "tuned", "tune": {"training": training, "validation_examples": 4}},
        ],
        seeds=[0],
    )


def environment(folder: Path) -> dict[str, str]:
    home = folder / "home"
    home.mkdir(exist_ok=True)
    return {**os.environ, "WEBREC_CACHE": str(folder / "cache"), "HOME": str(home), "OMP_NUM_THREADS": "1"}


def start(config: Path, *options: str) -> subprocess.Popen[str]:
    command = [str(WEBREC), "eval", str(config), *options]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, env=environment(config.parent), **pipes)


def finish(process: subprocess.Popen[str]) -> str:
    out, _ = process.communicate(timeout=400)
    assert process.returncode == 0, out[-3000:]
    return out


def rows(folder: Path) -> dict[tuple[Any, ...], tuple[int, list[float]]]:
    """Rank and scores by system and example; each must be there once."""
    found = [row for path in sorted(folder.glob("rows/**/*.parquet")) for row in pq.read_table(path).to_pylist()]
    told = {(r["sampling"], r["system"], r["key"]): (r["rank"], r["scores"]) for r in found}
    assert len(told) == len(found)
    return told


def check(folder: Path, expected: dict[tuple[Any, ...], tuple[int, list[float]]]) -> None:
    found = rows(folder)
    assert found.keys() == expected.keys()
    for key, (rank, scores) in expected.items():
        assert found[key][0] == rank
        np.testing.assert_allclose(found[key][1], scores, atol=1e-4)


@pytest.mark.slow
def test_other_pages_make_another_training(tmp_path: Path, tiny_bytes: Path, service: Service) -> None:
    """The same settings a second time, when the web says something else: nothing of the first run's training is in the way."""
    config = written(tmp_path, tiny_bytes, service)
    finish(start(config, "--ray", "--actors", "1"))
    first = rows(tmp_path / "run")
    (tmp_path / "store.sqlite").unlink()
    service.shift = 7
    told = finish(start(config, "--ray", "--actors", "1", "--set", f"output={tmp_path / 'again'}"))
    assert "trained before" not in told
    again = rows(tmp_path / "again")
    assert again.keys() == first.keys()
    assert any(again[key][1] != first[key][1] for key in first if key[1] == "tuned")


@pytest.fixture
def unbroken(tmp_path: Path, tiny_bytes: Path, service: Service) -> tuple[Counter[str], dict[Any, Any]]:
    """What the server was asked, and the rows, of a run in one process."""
    folder = tmp_path / "one"
    folder.mkdir()
    finish(start(written(folder, tiny_bytes, service)))
    asked = Counter(service.asked)
    service.asked.clear()
    found = rows(folder / "run")
    assert len(found) == USERS * 2 * 3
    assert sum(asked.values()) == len(asked) > USERS  # a query that two examples share is sent once
    return asked, found


@pytest.mark.slow
def test_two_actors(tmp_path: Path, tiny_bytes: Path, service: Service, unbroken: Any) -> None:
    asked, expected = unbroken
    folder = tmp_path / "two"
    folder.mkdir()
    finish(start(written(folder, tiny_bytes, service), "--ray", "--actors", "2"))
    check(folder / "run", expected)
    assert set(service.asked) == set(asked)
    told = json.loads((folder / "run" / "run.json").read_text())
    assert told["starts"][0]["ray"]["actors"] == 2
    assert set(told["starts"][0]["formats"]) == {"retrieval keywords", "rag", "tuned"}


class TwoNodes:
    """A Ray cluster of two nodes on this machine, each with a home and a cache of its own."""

    def __init__(self, folder: Path) -> None:
        from ray.cluster_utils import Cluster

        self.folder = folder
        common = {"num_cpus": 1, "object_store_memory": 200 * 2**20}
        self.cluster = Cluster(
            initialize_head=True, head_node_args={**common, "env_vars": self.home("a"), "include_dashboard": False}
        )
        self.node = self.cluster.add_node(**common, env_vars=self.home("b"))
        self.cluster.wait_for_nodes(60)

    def home(self, name: str) -> dict[str, str]:
        for part in ("home", "cache"):
            (self.folder / f"node-{name}" / part).mkdir(parents=True, exist_ok=True)
        home = self.folder / f"node-{name}"
        return {"HOME": str(home / "home"), "WEBREC_CACHE": str(home / "cache"), "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}

    def lose(self) -> None:
        """SIGKILL for everything on the second node."""
        self.cluster.remove_node(self.node, allow_graceful=False)

    def __enter__(self) -> TwoNodes:
        return self

    def __exit__(self, *_: object) -> None:
        self.cluster.shutdown()


@pytest.fixture
def nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TwoNodes]:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    with TwoNodes(tmp_path) as cluster:
        yield cluster


@pytest.mark.slow
def test_two_nodes_with_homes_of_their_own(
    tmp_path: Path, tiny_bytes: Path, service: Service, unbroken: Any, nodes: TwoNodes
) -> None:
    asked, expected = unbroken
    folder = tmp_path / "two"
    folder.mkdir()
    out = finish(start(written(folder, tiny_bytes, service), "--ray", nodes.cluster.address, "--actors", "2"))
    check(folder / "run", expected)
    assert set(service.asked) == set(asked)
    for name in "ab":
        assert f"cache {tmp_path / f'node-{name}' / 'cache'}" in out
    more = start(folder / "eval.yaml", "--ray", nodes.cluster.address, "--actors", "3", "--set", "output=other")
    out, _ = more.communicate(timeout=200)
    assert (more.returncode, "use at most 2" in out) == (2, True)


MOMENTS = [(seed, ("worker", "node", "driver")[seed % 3]) for seed in range(int(os.environ.get("KILLS", "3")))]


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "victim"), MOMENTS)
def test_killed(
    seed: int, victim: str, tmp_path: Path, tiny_bytes: Path, service: Service, unbroken: Any, nodes: TwoNodes
) -> None:
    """Whatever is killed at whatever moment: the same rows, each once. `KILLS=10` asks for more moments."""
    asked, expected = unbroken
    folder = tmp_path / "two"
    folder.mkdir()
    config = written(folder, tiny_bytes, service)
    began = time.monotonic()
    process = start(config, "--ray", nodes.cluster.address, "--actors", "2")
    moment = random.Random(seed)
    # The run takes its time to start: moments are counted from the first search, and some fall before that.
    while process.poll() is None and not service.asked and time.monotonic() - began < 120:
        time.sleep(0.05)
    time.sleep(moment.uniform(0, 20))  # seeds 4 and 7 lose a node while a model trains
    running = process.poll() is None
    if victim == "driver":
        process.kill()
        process.communicate()
        finish(start(config, "--ray", nodes.cluster.address, "--actors", "2"))
    else:
        if victim == "node":
            nodes.lose()
        else:
            kill_a_worker(moment, process, nodes)
        finish(process)
    check(folder / "run", expected)
    assert set(service.asked) == set(asked)
    again = sum(service.asked.values()) - sum(asked.values())
    print(f"seed {seed}: {victim} killed, run under way: {running}; {again} of {len(asked)} searches sent again")
    assert again <= 2  # those that were under way when their process was killed


def kill_a_worker(moment: random.Random, run: subprocess.Popen[str], nodes: TwoNodes) -> None:
    """SIGKILL for one of the actors, once there is one; none if the run ends before."""
    while run.poll() is None:
        if found := sorted(actors(nodes)):
            os.kill(moment.choice(found), signal.SIGKILL)
            return
        time.sleep(0.05)


def actors(nodes: TwoNodes) -> Iterator[int]:
    """The processes of Ray's actors on `nodes`: other clusters of this machine are not to be killed."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            told = path.read_bytes()
            if b"MapWorker" not in told and b"RemoteWorker" not in told:
                continue
            if str(nodes.folder).encode() in (path.parent / "environ").read_bytes():
                yield int(path.parent.name)
        except OSError:
            continue


@pytest.mark.slow
def test_too_many_actors(tmp_path: Path, tiny_bytes: Path, service: Service) -> None:
    config = read_eval_config(written(tmp_path, tiny_bytes, service))
    many = config.model_copy(update={"ray": RayConfig(actors=4000)})
    with pytest.raises(ConfigurationError, match=r"ray.actors: 4000 of 1 thread each need more CPUs .* use at most"):
        evaluate(many)


def test_a_cluster_that_is_not_there(tmp_path: Path, tiny_bytes: Path, service: Service) -> None:
    config = read_eval_config(written(tmp_path, tiny_bytes, service))
    gone = config.model_copy(update={"ray": RayConfig(address="127.0.0.1:9")})
    with pytest.raises(ConfigurationError, match=r"ray.address: no Ray cluster lets us in at '127\.0\.0\.1:9'"):
        evaluate(gone)
