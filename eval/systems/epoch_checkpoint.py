"""Where a network's training is kept: the weights and the curve after each epoch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from webrec.errors import ConfigurationError

if TYPE_CHECKING:
    import torch

CURVE = "training.json"


@dataclass(frozen=True, slots=True)
class Epoch:
    """One pass: the mean loss over targets (nats), NDCG@10 on the validation examples (None without any), wall seconds."""

    epoch: int
    loss: float
    validation: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder for one training. `identity`: names data, settings and seed, so that no other training goes on from it."""

    folder: Path
    identity: str

    def resume(self, network: Any, optimiser: torch.optim.Optimizer) -> tuple[list[Epoch], dict[str, torch.Tensor]]:
        """Load the last whole epoch into both; its curve and the best weights so far, both empty in a new folder.

        Raises `ConfigurationError` if the folder holds another training, or is damaged.
        """
        path = self.folder / CURVE
        if not path.exists():
            return [], {}
        try:
            return self._resume(network, optimiser, path)
        except ConfigurationError:
            raise
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError):
            raise ConfigurationError(f"folder: {self.folder} is damaged; remove it to train again") from None

    def _resume(
        self, network: Any, optimiser: torch.optim.Optimizer, path: Path
    ) -> tuple[list[Epoch], dict[str, torch.Tensor]]:
        from safetensors.torch import load_file

        kept = json.loads(path.read_text("utf-8"))
        if kept["identity"] != self.identity:
            raise ConfigurationError(
                f"folder: {self.folder} holds a training on other data or with other settings; give another folder"
            )
        curve = [Epoch(**epoch) for epoch in kept["curve"]]
        tensors = load_file(self._tensors(len(curve)))
        network.load_state_dict(_below("weight.", tensors))
        places = {name: place for place, (name, _) in enumerate(network.named_parameters())}
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in _below("adam.", tensors).items():
            key, _, parameter = name.partition(".")
            moments.setdefault(places[parameter], {})[key] = tensor
        optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})
        return curve, _below("best.", tensors)

    def keep(
        self,
        network: Any,
        optimiser: torch.optim.Optimizer,
        best: Mapping[str, torch.Tensor],
        curve: Sequence[Epoch],
    ) -> None:
        """Write the tensors, then the curve that makes them count, then remove the epoch before.

        Raises `ConfigurationError` where they cannot be written.
        """
        from safetensors.torch import save_file

        tensors = {f"weight.{name}": weight for name, weight in network.state_dict().items()}
        tensors |= {f"best.{name}": weight for name, weight in best.items()}
        for name, parameter in network.named_parameters():
            tensors |= {f"adam.{key}.{name}": value for key, value in optimiser.state[parameter].items()}
        text = json.dumps({"identity": self.identity, "curve": [asdict(epoch) for epoch in curve]}, indent=1)
        fresh = self.folder / f"{CURVE}.new"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, self._tensors(len(curve)))
            fresh.write_text(text, "utf-8")
            fresh.replace(self.folder / CURVE)
            self._tensors(len(curve) - 1).unlink(missing_ok=True)
        except (OSError, SafetensorError) as error:
            raise ConfigurationError(
                f"folder: {self.folder} cannot be written ({error}); make room, or give another folder"
            ) from None

    def _tensors(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch}.safetensors"


def forget(folder: Path) -> None:
    """Remove what a training kept, and the folder if nothing else is in it."""
    for path in (*folder.glob("epoch-*.safetensors"), folder / f"{CURVE}.new", folder / CURVE):
        path.unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _below(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
