"""Layers with random weights and inputs for them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from webrec.models.mp_head.config import HeadShape, MPHeadConfig
from webrec.models.mp_head.layer import HeadLayer
from webrec.models.mp_head.standardise import Moments
from webrec.models.mp_head.task import TaskFeature

from .reference import Reference, run_reference

SHAPE = HeadShape(hidden=10, head_dim=6, kv_heads=2)


@dataclass(frozen=True)
class Inputs:
    """(B, T, d) queries, (B, N, kv·d) keys and values, (B, N) mask."""

    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor

    def of_row(self, row: int) -> Inputs:
        pick = slice(row, row + 1)
        return Inputs(self.query[pick], self.key[pick], self.value[pick], self.mask[pick])

    def to(self, dtype: torch.dtype) -> Inputs:
        return Inputs(self.query.to(dtype), self.key.to(dtype), self.value.to(dtype), self.mask)


def make_layer(config: MPHeadConfig, seed: int = 0, shape: HeadShape = SHAPE) -> HeadLayer:
    """In float64, every tensor random, the gate and the biases too; what an ablation fixes stays fixed."""
    draw = torch.Generator().manual_seed(seed)
    layer = HeadLayer(config, shape, TaskFeature(shape.hidden)).double()
    fixed = {"messages.beta"} if not config.relevance_bias else set()
    fixed |= {"messages.depth"} if not config.learned_depth else set()
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if name not in fixed:
                parameter.copy_(0.5 * torch.randn(parameter.shape, generator=draw, dtype=torch.float64))
        for standardise in (layer.given, layer.asked):
            if standardise is not None:
                rows = 1.5 + 0.8 * torch.randn(9, len(standardise.mean), generator=draw, dtype=torch.float64)
                moments = Moments()
                moments.add(rows)
                standardise.set(moments)
        layer.gate.fill_(0.7)
        layer.task.z.copy_(torch.randn(shape.hidden, generator=draw, dtype=torch.float64))
    return layer.eval()


def make_inputs(
    batch: int, tokens: int, queries: int = 3, seed: int = 0, shape: HeadShape = SHAPE, nodes: float = 1.0
) -> Inputs:
    """Random, in float64; a token is a node with probability `nodes`."""
    draw = torch.Generator().manual_seed(1000 + seed)
    width = shape.kv_heads * shape.head_dim
    query, key, value = (
        torch.randn(batch, length, size, generator=draw, dtype=torch.float64)
        for length, size in ((queries, shape.head_dim), (tokens, width), (tokens, width))
    )
    return Inputs(query, key, value, torch.rand(batch, tokens, generator=draw) < nodes)


def reference_of(layer: HeadLayer, inputs: Inputs, row: int) -> Reference:
    qkv = (inputs.query[row], inputs.key[row], inputs.value[row])
    return run_reference(layer.config, layer.state_dict(), layer.task.z, qkv, inputs.mask[row].tolist())


def check_layer(layer: HeadLayer, inputs: Inputs, tolerance: float = 1e-6) -> list[Reference]:
    """Every step of `layer` against the reference, row by row; returns the references."""
    with torch.no_grad():
        entities = layer.entities(inputs.key, inputs.value)
        cosine = layer.cosine(entities)
        index, kept = layer.keep(cosine, inputs.mask)
        nodes = layer.nodes(inputs.key, inputs.value, inputs.mask)
        output = layer.read(inputs.query, nodes)
    if layer.relevance is None:
        index = torch.arange(kept.shape[1]).expand_as(kept)
        kept = inputs.mask
    references = [reference_of(layer, inputs, row) for row in range(len(inputs.mask))]
    for row, expected in enumerate(references):
        assert_near(entities[row], expected.entities, tolerance)
        if layer.relevance is not None:
            assert_near(cosine[row], expected.cosine, tolerance)
        assert sorted(index[row][kept[row]].tolist()) == expected.kept
        assert torch.equal(nodes.kept[row], kept[row])
        states = nodes.states[row]
        for position, is_kept in zip(range(len(states)), kept[row].tolist(), strict=True):
            if is_kept:
                assert_near(states[position], expected.states[int(index[row][position])], tolerance)
        assert bool(states.isfinite().all())
        assert_near(output[row], expected.output, tolerance)
    return references


def assert_near(found: Tensor, expected: object, tolerance: float) -> None:
    """Equal to `tolerance` of the largest expected number."""
    wanted = torch.as_tensor(expected, dtype=torch.float64)
    scale = max(float(wanted.abs().max()), 1e-3) if wanted.numel() else 1.0
    torch.testing.assert_close(found.double(), wanted, rtol=0, atol=tolerance * scale)
