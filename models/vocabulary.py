"""Log-probabilities of a few tokens of a large vocabulary.

Their logits alone would do, were it not for the sum over all others. On CPUs that is taken in parts of the vocabulary that stay in the
processor's cache; logits of all rows and the whole vocabulary are tens of megabytes, which take longer to write and read than to compute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

TOKENS = 2048
"""Tokens of the vocabulary in a part."""

_Head = Callable[["torch.Tensor"], "torch.Tensor"]
"""Hidden states, shape (rows, width), to logits of tokens, shape (rows, tokens)."""


def log_probabilities(head: _Head, hidden: torch.Tensor, rows: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """`ln P(token)` after each row of `hidden` that `rows` names, in float32; `rows`, `tokens` and the result have shape (pairs,).

    `head`: the layer that computes the logits of the whole vocabulary; taken in parts if it is a plain linear one, in 8 bits or not.
    """
    import torch

    found = torch.zeros(len(tokens), dtype=torch.float32, device=hidden.device)
    sums = []
    for begin, part in _parts(head, hidden.device):
        logits = part(hidden).float()
        here = ((tokens >= begin) & (tokens < begin + logits.shape[1])).nonzero()[:, 0]
        found[here] = logits[rows[here], tokens[here] - begin]
        sums.append(logits.logsumexp(-1))
    return found - torch.stack(sums).logsumexp(0)[rows]


def _parts(head: _Head, device: torch.device) -> Iterator[tuple[int, _Head]]:
    """The first token of each part, and what computes its logits."""
    from torch.nn import Linear
    from torch.nn.functional import linear

    from webrec.models.int8 import Int8Linear
    from webrec.models.onednn_linear import OneDnnLinear, is_plain, product

    if device.type != "cpu" or not (is_plain(head) or type(head) is Int8Linear):
        yield 0, head
        return
    assert isinstance(head, Linear)
    times = product if isinstance(head, OneDnnLinear) else linear
    for begin in range(0, head.out_features, TOKENS):
        part = slice(begin, begin + TOKENS)
        if isinstance(head, Int8Linear):
            yield begin, head.part(part)
        else:
            yield begin, partial(times, weight=head.weight[part], bias=None if head.bias is None else head.bias[part])
