"""torch.distributed between workers on one machine, meeting at a file: its usual store listens on every interface.

Imports Ray: only for code that runs under it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from ray.train import get_context
from ray.train.backend import Backend
from ray.train.collective import broadcast_from_rank_zero
from ray.train.torch import TorchConfig, get_device


class _NoBackend(Backend):
    """Leaves the process group to the workers."""

    share_cuda_visible_devices = True


class OwnGroup(TorchConfig):
    """For `TorchTrainer`: the workers join the group themselves, by `process_group`."""

    @property
    def backend_cls(self) -> type[Backend]:
        """What Ray would set the group up with."""
        return _NoBackend


@contextmanager
def process_group(folder: str) -> Iterator[None]:
    """The group of this run's workers; `folder` is one that all of them see. Every start meets at a file of its own."""
    context, device = get_context(), get_device()
    name = broadcast_from_rank_zero(uuid.uuid4().hex)
    world = context.get_world_size()
    distributed: Any = torch.distributed  # whose stubs leave out what it does not define itself
    store = distributed.FileStore(str(Path(folder) / name), world)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group(
        "nccl" if device.type == "cuda" else "gloo", store=store, rank=context.get_world_rank(), world_size=world
    )
    try:
        yield
    finally:
        distributed.destroy_process_group()
