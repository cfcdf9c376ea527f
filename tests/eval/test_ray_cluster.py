"""What workers get of the machines, and what Ray is told about its environment."""

from __future__ import annotations

import math
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webrec.errors import ConfigurationError
from webrec.eval.ray_cluster import _environment, _variables, cpus_per_worker, wants_gpu


@pytest.mark.parametrize(
    ("nodes", "workers", "share"),
    [
        ([2], 2, 1),
        ([2], 1, 2),
        ([2], 3, 0.666),
        ([4, 4], 3, 2),
        ([16], 3, 5),
        ([1], 4, 0.25),
        ([8, 1], 2, 4),
        ([0, 4], 2, 2),
    ],
)
def test_share(nodes: list[float], workers: int, share: float) -> None:
    assert cpus_per_worker(nodes, workers) == share


@given(st.lists(st.integers(1, 64), min_size=1, max_size=5), st.integers(1, 40))
def test_every_worker_finds_a_place(nodes: list[float], workers: int) -> None:
    share = cpus_per_worker(nodes, workers)
    assert share > 0
    assert share == int(share) or share < 1
    assert sum(math.floor(cpus / share + 1e-9) for cpus in nodes) >= workers


def test_no_cpu() -> None:
    with pytest.raises(ConfigurationError, match="no CPU"):
        cpus_per_worker([0], 1)


def test_gpus() -> None:
    assert not wants_gpu("auto", 0, 2)
    assert not wants_gpu("cpu", 8, 2)
    assert wants_gpu("auto", 2, 2)
    with pytest.raises(ConfigurationError, match="2 need a GPU each and the Ray cluster has 1"):
        wants_gpu("auto", 1, 2)
    with pytest.raises(ConfigurationError, match="2 need a GPU each and the Ray cluster has 0"):
        wants_gpu("cuda", 0, 2)
    with pytest.raises(ConfigurationError, match="device: 'cuda:1' is one device"):
        wants_gpu("cuda:1", 8, 2)


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    local = _variables(local=True)
    assert (local["RAY_USAGE_STATS_ENABLED"], local["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"]) == ("0", "0")
    assert (local["RAY_AUTH_MODE"], len(local["RAY_AUTH_TOKEN"])) == ("token", 64)
    assert local["RAY_AUTH_TOKEN"] == _variables(local=True)["RAY_AUTH_TOKEN"]
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    remote = _variables(local=False)
    assert remote["RAY_AUTH_MODE"] == "token"
    assert "RAY_AUTH_TOKEN" not in remote
    before = dict(os.environ)
    with _environment(local):
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert dict(os.environ) == before
