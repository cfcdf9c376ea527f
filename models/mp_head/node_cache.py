"""Node states inside the key/value cache: they follow the cache through beam search, copies, crops and resets."""

from __future__ import annotations

from functools import cache as remembered
from typing import Any

from torch import Tensor

from webrec.models.mp_head.layer import Nodes


class _HoldsNodes:
    """Mixed into a cache layer's class. Holds the prompt's nodes and how many positions the prompt took."""

    nodes: Nodes | None = None
    prompt_length: int = 0

    def reset(self) -> None:
        super().reset()  # type: ignore[misc]
        self.nodes = None

    def reorder_cache(self, beam_idx: Tensor) -> None:
        super().reorder_cache(beam_idx)  # type: ignore[misc]
        self._select(beam_idx)

    def batch_select_indices(self, indices: Tensor) -> None:
        super().batch_select_indices(indices)  # type: ignore[misc]
        self._select(indices)

    def batch_repeat_interleave(self, repeats: int) -> None:
        super().batch_repeat_interleave(repeats)  # type: ignore[misc]
        if self.nodes is not None:
            states, kept = self.nodes.states, self.nodes.kept
            self.nodes = Nodes(states.repeat_interleave(repeats, 0), kept.repeat_interleave(repeats, 0))

    def crop(self, tokens_to_remove: int) -> None:
        super().crop(tokens_to_remove)  # type: ignore[misc]
        if int(self.get_seq_length()) < self.prompt_length:  # type: ignore[attr-defined]
            self.nodes = None  # part of the prompt is gone: what it left behind is no longer true

    def _select(self, rows: Tensor) -> None:
        if self.nodes is not None:
            rows = rows.to(self.nodes.states.device)
            self.nodes = Nodes(self.nodes.states[rows], self.nodes.kept[rows])


@remembered
def _holding(layer_class: type) -> type:
    # A type made at run time: what class a cache's layers have depends on the model and on `generate`.
    # Without `_layer_type`, by which transformers would take this class for all new caches of that type.
    return type(f"{layer_class.__name__}WithNodes", (_HoldsNodes, layer_class), {"_layer_type": None})


def store_nodes(cache: Any, layer: int, nodes: Nodes) -> None:
    """Put `nodes` into `cache`, which has just read their prompt at `layer`."""
    held: Any = cache.layers[layer]
    if not isinstance(held, _HoldsNodes):
        plain, held = held, object.__new__(_holding(held.__class__))
        held.__dict__.update(plain.__dict__)
        cache.layers[layer] = held
    held.nodes, held.prompt_length = nodes, int(held.get_seq_length())


def stored_nodes(cache: Any, layer: int) -> Nodes | None:
    """The nodes in `cache` at `layer`; None if there are none, or the prompt has been cut since."""
    held = cache.layers[layer]
    return held.nodes if isinstance(held, _HoldsNodes) else None
