"""What the literal head can tell apart, at what cost, and that the pairwise head tells more apart."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from webrec.models.mp_head.config import HeadShape, MPHeadConfig
from webrec.models.mp_head.layer import HeadLayer

from .cases import make_inputs, make_layer

SHAPE = HeadShape(hidden=24, head_dim=12, kv_heads=2)


class Sizes(TorchDispatchMode):
    """Collects the shape of every tensor that an operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: set[tuple[int, ...]] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        self.shapes |= {tuple(leaf.shape) for leaf in tree_leaves(made) if isinstance(leaf, Tensor)}
        return made


def states(layer: HeadLayer, seed: int, tokens: int) -> Tensor:
    inputs = make_inputs(1, tokens, seed=seed, shape=SHAPE)
    with torch.no_grad():
        return layer.nodes(inputs.key, inputs.value, inputs.mask).states[0]


def significant(matrix: Tensor) -> Tensor:
    """Singular values relative to the largest."""
    values = torch.linalg.svdvals(matrix)
    return values / values[0]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("hops", [1, 2, 3])
def test_the_literal_head_has_one_summary_for_each_sign(hops: int, seed: int) -> None:
    for self_loops in (True, False):
        layer = make_layer(MPHeadConfig(hops=hops, self_loops=self_loops, top_k=40), seed, SHAPE)
        inputs = make_inputs(1, 50, seed=seed, shape=SHAPE)
        with torch.no_grad():
            cosine = layer.cosine(layer.entities(inputs.key, inputs.value))[0]
            signs = len(cosine.sort(descending=True).values[:40].sign().unique())
            message = states(layer, seed, 50) - layer.messages.hops[-1].bias
        rank = int((significant(message) > 1e-9).sum())
        assert rank <= signs if self_loops else rank > 2
    assert signs == 2


def test_one_sign_leaves_one_summary() -> None:
    layer = make_layer(MPHeadConfig(hops=2, top_k=5), 1, SHAPE)  # of 60: the most relevant are all above 0
    message = states(layer, 1, 60) - layer.messages.hops[-1].bias.detach()
    assert int((significant(message) > 1e-9).sum()) == 1


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("hops", [1, 2, 3])
def test_the_pairwise_head_gives_each_node_a_state_of_its_own(hops: int, seed: int) -> None:
    """`E − e⁰`, what the messages add, does not collapse into one direction; where P is uniform, one hop adds the same
    to all."""
    for mixing in ("softmax", "uniform"):
        config = MPHeadConfig.model_validate({"kind": "pairwise", "hops": hops, "top_k": None, "mixing": mixing})
        torch.manual_seed(seed)
        layer = HeadLayer(config, SHAPE, make_layer(config, seed, SHAPE).task).double()  # as it starts
        inputs = make_inputs(1, 40, seed=seed, shape=SHAPE)
        with torch.no_grad():
            first = layer.entities(inputs.key, inputs.value)
            [order], _ = layer.keep(layer.cosine(first), inputs.mask)
            added = states(layer, seed, 40) - first[0, order]
        values = torch.linalg.svdvals(added - added.mean(0))
        if mixing == "softmax":
            assert values[1] / values[0] > 0.1
        elif hops == 1:
            assert values[0] < 1e-9


@pytest.mark.parametrize("self_loops", [True, False])
def test_the_literal_head_makes_no_matrix_of_pairs(self_loops: bool) -> None:
    """k = 37 of N = 53 tokens: no tensor, forward or backward, has both k·k or k·N entries or more than it should."""
    tokens, kept = 53, 37
    layer = make_layer(MPHeadConfig(hops=2, self_loops=self_loops, top_k=kept), 0, SHAPE)
    inputs = make_inputs(1, tokens, queries=2, shape=SHAPE)
    key = inputs.key.clone().requires_grad_()
    with Sizes() as made:
        layer.read(inputs.query, layer.nodes(key, inputs.value, inputs.mask)).sum().backward()
    assert not [shape for shape in made.shapes if sum(size in (kept, tokens) for size in shape) > 1]
    assert not [shape for shape in made.shapes if torch.Size(shape).numel() in (kept * kept, kept * tokens)]


def test_the_count_of_pairs_would_be_seen() -> None:
    layer = make_layer(MPHeadConfig(kind="pairwise", top_k=37), 0, SHAPE)
    inputs = make_inputs(1, 53, queries=2, shape=SHAPE)
    with Sizes() as made:
        layer.nodes(inputs.key, inputs.value, inputs.mask)
    assert (1, 37, 37) in made.shapes


def test_the_cost_grows_as_the_prompt_does() -> None:
    """Most numbers in one tensor: proportional to the tokens, for twice and four times as many."""
    most = []
    for tokens in (64, 128, 256):
        layer, inputs = make_layer(MPHeadConfig(top_k=None), 0, SHAPE), make_inputs(1, tokens, queries=2, shape=SHAPE)
        with Sizes() as made:
            layer.nodes(inputs.key, inputs.value, inputs.mask)
        most.append(max(torch.Size(shape).numel() for shape in made.shapes))
    assert most[1] == 2 * most[0]
    assert most[2] == 4 * most[0]
