"""The least time that this machine could take: arithmetic over its measured matrix rate, bytes over its measured memory bandwidth."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM

_SIDE = 2048
_BYTES = 2**30
_TRIES = 7


@dataclass(frozen=True)
class Machine:
    """What torch reaches here with its present threads: the best of a few tries."""

    flops: float
    """Additions and multiplications a second of a square matrix product in the format of the weights, by the quicker of torch's ways."""
    bandwidth: float
    """Bytes a second that are read from memory, from an array far larger than what decoding reads at once."""

    @classmethod
    def measured(cls, dtype: torch.dtype | None = None) -> Machine:
        """Measure now, products in `dtype` (unset: float32); takes seconds."""
        import torch

        from webrec.models.onednn_linear import is_quicker, product

        square, long = torch.randn(_SIDE, _SIDE).to(dtype), torch.ones(_BYTES // 4)
        wide = long.view(-1, 1024)
        vector = torch.ones(1024)
        reading = min(_best(lambda: long.sum()), _best(lambda: wide @ vector))
        multiplying = _best(lambda: square @ square)
        if square.dtype == torch.float32 and is_quicker():
            multiplying = min(multiplying, _best(lambda: product(square, square)))
        return cls(2 * _SIDE**3 / multiplying, _BYTES / reading)


def _best(work: Callable[[], Any]) -> float:
    times = []
    for _ in range(_TRIES):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


@dataclass(frozen=True)
class Work:
    """What a LLaMA has to compute and to read, whatever the program."""

    weights: int
    """Weights that every token is multiplied with, without the vocabulary's."""
    vocabulary: int
    """Weights of the output layer."""
    beside_last: int
    """Weights of the last layer that only rows with a result of their own are multiplied with: all but those of its keys and values."""
    attention: int
    """Additions and multiplications for one token that attends to one other, over all layers."""
    layers: int
    weight_bytes: int

    @classmethod
    def of(cls, model: LlamaForCausalLM) -> Work:
        """The work of `model`."""
        config: Any = model.config
        head: Any = model.lm_head.weight
        by_layer = [
            [(n, p.numel()) for n, p in layer.named_parameters() if p.dim() == 2] for layer in model.model.layers
        ]
        inner = sum(count for layer in by_layer for _, count in layer)
        beside = sum(count for name, count in by_layer[-1] if "k_proj" not in name and "v_proj" not in name)
        width, layers = config.num_attention_heads * config.head_dim, config.num_hidden_layers
        return cls(inner, head.numel(), beside, 4 * width * layers, layers, head.element_size())

    def reading(self, machine: Machine, tokens: int, logits: int, *, behind: int = 0, own: int = 0) -> float:
        """Seconds to read `tokens` tokens, then `behind` more that see all of them and, together, `own` pairs of their own.

        Of the last layer, the first tokens but one need their keys and values alone.
        """
        without = tokens - 1
        pairs = tokens * (tokens + 1) / 2 + behind * tokens + own - without * tokens / 2 / self.layers
        weights = self.weights * (tokens + behind) - self.beside_last * without
        flops = 2 * weights + 2 * self.vocabulary * logits + self.attention * pairs
        return max(flops / machine.flops, self.pass_bytes / machine.bandwidth)

    def writing(self, machine: Machine, passes: int, tokens: int, held: float) -> float:
        """Seconds of `passes` passes over a few tokens each, `tokens` in all, with `held` tokens in the cache."""
        flops = (2 * (self.weights + self.vocabulary) + held * self.attention) * tokens
        return max(passes * self.pass_bytes / machine.bandwidth, flops / machine.flops)

    def drafting(self, machine: Machine, passes: int, held: float) -> float:
        """As `writing`, for passes of a draft, bound by memory: layers in 4 bits, with 32 more for each group of weights, logits in 8."""
        from webrec.models.int4 import GROUP

        layers = self.weights * (4 + 32 / GROUP) / 8
        return passes * (layers + self.vocabulary) / machine.bandwidth + passes * held * self.attention / machine.flops

    @property
    def pass_bytes(self) -> int:
        """Bytes of weights that one pass reads."""
        return (self.weights + self.vocabulary) * self.weight_bytes
