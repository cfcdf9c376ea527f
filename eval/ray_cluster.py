"""Ray for one call: a cluster on this machine alone, or the one that RAY_ADDRESS names; and what its workers get of it."""

from __future__ import annotations

import logging
import math
import os
import secrets
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from typing import Any

from webrec.errors import ConfigurationError, missing_extra

_ALWAYS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # silences a notice about what later versions will do
}
_STORE_BYTES = 128 * 2**20  # nothing but events goes through Ray's store


_CONNECT_SECONDS = 10
_TOKEN = secrets.token_hex(32)  # one for the process: Ray reads it once


def require_ray() -> None:
    """Raise `MissingExtraError` if Ray is not installed; cheap, does not import it."""
    if find_spec("ray") is None:
        raise missing_extra("ray", "ray")


@contextmanager
def ray_cluster(address: str | None = None, store_bytes: int = _STORE_BYTES) -> Iterator[bool]:
    """Ray, started here and stopped at the end, or connected to. One that this process already uses is left as it is.

    `address`: `local`, a cluster's, or None for RAY_ADDRESS and, without it, `local`. Gives whether it was started here. Raises
    `ConfigurationError` if there is no cluster that answers.
    """
    require_ray()
    field = "ray.address" if address else "RAY_ADDRESS"
    address = address or os.environ.get("RAY_ADDRESS", "").strip() or "local"
    _check_reachable(field, address)
    # Most of this Ray reads once, when it is imported: a program that has done so has chosen already.
    with _environment(_ALWAYS if _imported_before() else _variables(local=address == "local")):
        import ray

        if ray.is_initialized():
            yield False
            return
        options: dict[str, Any] = {"include_dashboard": False, "object_store_memory": store_bytes}
        try:
            ray.init(
                address=address,
                logging_level=logging.ERROR,
                log_to_driver=False,
                **(options if address == "local" else {}),
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            if address == "local":
                raise
            raise _no_cluster(field, address, error) from None
        try:
            yield address == "local"
        finally:
            ray.shutdown()


@cache
def _imported_before() -> bool:
    """Whether the program had imported Ray when this was first asked."""
    return "ray" in sys.modules


def _check_reachable(field: str, address: str) -> None:
    """Ray itself tries for a quarter of an hour."""
    host, found, port = address.rpartition("://")[2].rpartition(":")
    if found and port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
        except (OSError, OverflowError) as error:
            raise _no_cluster(field, address, error) from None


def _no_cluster(field: str, address: str, error: Exception) -> ConfigurationError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return ConfigurationError(
        f"{field}: no Ray cluster lets us in at {address!r} ({reason}); correct it, or leave it out to start Ray here"
    )


def _variables(*, local: bool) -> dict[str, str]:
    """What Ray reads when it is imported and started. A value that the user has set counts, but not for privacy."""
    if not local:
        return {**_ALWAYS, "RAY_AUTH_MODE": os.environ.get("RAY_AUTH_MODE", "disabled")}
    variables = {
        **_ALWAYS,
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # Ray's own sockets on the loopback interface only
        "RAY_AUTH_MODE": "token",  # other users of this machine can reach that, too
        "RAY_AUTH_TOKEN": _TOKEN,
    }
    if sys.platform.startswith("linux"):  # and those of torch.distributed
        variables |= {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
    return variables


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():  # ours, and what Ray adds: a debugger of its own for one
            del os.environ[name]
        os.environ.update({name: before[name] for name in variables.keys() & before.keys()})


class EventBoard:
    """Carries events from the workers to the process that started them. Runs as a Ray actor."""

    def __init__(self) -> None:
        self._events: list[dict[str, Any]] = []

    def put(self, event: dict[str, Any]) -> None:
        """Add one."""
        self._events.append(event)

    def take(self) -> list[dict[str, Any]]:
        """Those that were not taken yet."""
        taken, self._events = self._events, []
        return taken


def event_board() -> Any:
    """A board on this process's own machine: one that another machine takes along when it is lost would end the run."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(EventBoard).options(num_cpus=0, scheduling_strategy=here).remote()


def machines() -> list[dict[str, float]]:
    """CPU, GPU and so on of each machine of the cluster this process uses."""
    import ray

    api: Any = ray  # its annotations leave these out
    return [node["Resources"] for node in api.nodes() if node["Alive"]]


def cpus_per_worker(nodes: Sequence[float], workers: int) -> float:
    """The greatest share of CPUs at which all `workers` find a place on machines with so many CPUs each.

    Whole CPUs where there is one for each worker; else a fraction, rounded down to what Ray can count.
    """
    shares = {cpus / number for cpus in nodes if cpus > 0 for number in range(1, workers + 1)}
    if not shares:
        raise ConfigurationError("workers: the Ray cluster has no CPU; add a machine to it")
    best = max(s for s in shares if sum(math.floor(cpus / s + 1e-9) for cpus in nodes) >= workers)
    return float(math.floor(best)) if best >= 1 else max(0.001, math.floor(best * 1000) / 1000)


def wants_gpu(device: str, gpus: float, workers: int) -> bool:
    """Whether each worker gets a GPU. Raises `ConfigurationError` if they cannot each have one."""
    if device not in {"auto", "cpu", "cuda"}:
        raise ConfigurationError(f"device: {device!r} is one device for several workers; give auto, cpu or cuda")
    if device == "cpu" or (device == "auto" and gpus < 1):
        return False
    if gpus < workers:
        raise ConfigurationError(
            f"workers: {workers} need a GPU each and the Ray cluster has {gpus:g}; lower it, or set device to cpu"
        )
    return True
