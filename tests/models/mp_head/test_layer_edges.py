"""Where the equations are delicate: no relevance, no direction, ties, one sign, no node; values and gradients."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from webrec.models.mp_head.config import HeadShape, MPHeadConfig
from webrec.models.mp_head.layer import HeadLayer

from .cases import SHAPE, Inputs, check_layer, make_inputs, make_layer

KINDS: list[dict[str, Any]] = [
    {"kind": "literal"},
    {"kind": "literal", "self_loops": False},
    {"kind": "linear"},
    {"kind": "pairwise"},
]
kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: " ".join(map(str, kind.values())))
D = SHAPE.head_dim


def config(kind: dict[str, Any], **others: Any) -> MPHeadConfig:
    return MPHeadConfig.model_validate({"hops": 2, "top_k": 5} | kind | others)


def identity_entities(layer: HeadLayer) -> None:
    """Make e = [first kv head's key ; first kv head's value], so that a test chooses the entities."""
    with torch.no_grad():
        layer.entity.weight.zero_()
        layer.entity.weight[:D, :D] = torch.eye(D)
        layer.entity.weight[D:, 2 * D : 3 * D] = torch.eye(D)
        layer.entity.bias.zero_()


def point(layer: HeadLayer, direction: Tensor) -> None:
    """Make u this vector."""
    assert layer.relevance is not None
    with torch.no_grad():
        layer.relevance.weight.zero_()
        layer.relevance.bias.copy_(direction)


def with_entities(entities: Tensor) -> Inputs:
    """Inputs of one row whose entities these are, under `identity_entities`."""
    inputs = make_inputs(1, len(entities))
    key, value = inputs.key.clone(), inputs.value.clone()
    key[0, :, :D], value[0, :, :D] = entities[:, :D], entities[:, D:]
    return replace(inputs, key=key, value=value)


def assert_finite_gradients(layer: HeadLayer, inputs: Inputs) -> None:
    key, value = inputs.key.clone().requires_grad_(), inputs.value.clone().requires_grad_()
    query = inputs.query.clone().requires_grad_()
    layer.zero_grad()
    layer.read(query, layer.nodes(key, value, inputs.mask)).square().sum().backward()
    gradients = [query.grad, key.grad, value.grad, *(parameter.grad for parameter in layer.parameters())]
    assert all(bool(gradient.isfinite().all()) for gradient in gradients if gradient is not None)


@kinds
def test_relevance_exactly_zero(kind: dict[str, Any]) -> None:
    """Orthogonal to u, zero itself, below the threshold on either side, and ordinary ones of both signs."""
    layer = make_layer(config(kind, top_k=64))
    identity_entities(layer)
    point(layer, 3.0 * torch.eye(2 * D)[0].double())
    e = torch.randn(7, 2 * D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    e[0, 0] = 0.0
    e[1] = 0.0
    e[2, 0], e[3, 0] = 1e-9, -1e-9
    e[4, 0], e[5, 0], e[6, 0] = 0.5, -0.5, 0.8
    inputs = with_entities(e)
    [reference] = check_layer(layer, inputs)
    if layer.relevance is not None:
        assert reference.cosine[:2].tolist() == [0, 0]
        assert (abs(reference.cosine[2:4]) < 1e-6).all()
    if kind["kind"] == "literal":
        b_m = layer.messages.hops[-1].bias
        for i in range(4):
            assert torch.equal(torch.from_numpy(reference.states[i]), b_m.detach())
    assert_finite_gradients(layer, inputs)
    assert_finite_gradients(layer.float(), inputs.to(torch.float32))


@kinds
def test_no_direction(kind: dict[str, Any]) -> None:
    """u = 0: every relevance is 0, and the first nodes are kept, ties going to the lower index."""
    layer = make_layer(config(kind, top_k=3))
    point(layer, torch.zeros(2 * D))
    inputs = replace(make_inputs(2, 8), mask=torch.tensor([[False, True] * 4, [True] * 8]))
    references = check_layer(layer, inputs)
    assert [reference.kept for reference in references] == [[1, 3, 5], [0, 1, 2]]
    if kind["kind"] == "literal":
        assert all((reference.states[1] == references[0].states[1]).all() for reference in references)
    assert_finite_gradients(layer, inputs)
    assert_finite_gradients(layer.float(), inputs.to(torch.float32))


@kinds
def test_repeated_tokens_tie_to_the_lower_index(kind: dict[str, Any]) -> None:
    inputs = make_inputs(1, 3)
    token = [0, 1, 0, 2, 1, 0, 2, 1, 2, 0]
    repeated = Inputs(inputs.query, inputs.key[:, token], inputs.value[:, token], torch.ones(1, 10, dtype=torch.bool))
    for dtype, tolerance in ((torch.float64, 1e-6), (torch.float32, 1e-4)):
        for top_k in range(1, 10):
            layer = make_layer(config(kind, top_k=top_k)).to(dtype)
            [reference] = check_layer(layer, repeated.to(dtype), tolerance)
            for one in range(3):
                places = [i for i in range(10) if token[i] == one]
                chosen = [i for i in reference.kept if token[i] == one]
                assert chosen == places[: len(chosen)]


def test_repeated_tokens_tie_exactly_in_float32() -> None:
    """Equal entities have equal relevance, wherever in the prompt they are."""
    for shape in (SHAPE, HeadShape(hidden=64, head_dim=16, kv_heads=2), HeadShape(hidden=96, head_dim=64, kv_heads=3)):
        layer = make_layer(MPHeadConfig(top_k=3), 1, shape).float()
        for tokens in (2, 3, 4, 5, 7, 8, 13, 16, 31, 64, 67, 301):
            one = make_inputs(1, 1, shape=shape).to(torch.float32)
            key, value = (part.expand(1, tokens, -1).contiguous() for part in (one.key, one.value))
            with torch.no_grad():
                cosine = layer.cosine(layer.entities(key, value))
                index, _ = layer.keep(cosine, torch.ones(1, tokens, dtype=torch.bool))
            assert len(cosine.unique()) == 1, (shape, tokens)
            assert index[0].tolist() == list(range(min(3, tokens)))


@kinds
@pytest.mark.parametrize("signs", ["++++++", "------", "+-----", "-+++++", "+-+-+-"])
def test_signs(kind: dict[str, Any], signs: str) -> None:
    """Groups of one sign, also of a single entity, which without self loops has no edge."""
    layer = make_layer(config(kind, top_k=64))
    identity_entities(layer)
    point(layer, torch.eye(2 * D)[0])
    e = torch.randn(6, 2 * D, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    e[:, 0] = torch.tensor([1.0 if sign == "+" else -1.0 for sign in signs]) * e[:, 0].abs()
    inputs = with_entities(e)
    [reference] = check_layer(layer, inputs)
    if kind == {"kind": "literal", "self_loops": False} and signs.count("+") == 1:
        assert (reference.states[signs.index("+")] == layer.messages.hops[-1].bias.detach().numpy()).all()
    assert_finite_gradients(layer, inputs)


@kinds
def test_one_entity_outweighs_the_rest(kind: dict[str, Any]) -> None:
    """Relevances of very different size: without self loops `S − |c_i|` must not lose its digits."""
    layer = make_layer(config(kind, top_k=64))
    identity_entities(layer)
    point(layer, torch.eye(2 * D)[0])
    e = torch.randn(5, 2 * D, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    e[:, 0] = torch.tensor([50.0, 3e-5, 2e-5, -40.0, -4e-5])
    check_layer(layer, with_entities(e))
    check_layer(layer.float(), with_entities(e).to(torch.float32), 1e-3)
    assert_finite_gradients(layer, with_entities(e).to(torch.float32))


@kinds
@pytest.mark.parametrize("top_k", [1, 4, None])
def test_rows_without_a_node(kind: dict[str, Any], top_k: int | None) -> None:
    layer, inputs = make_layer(config(kind, top_k=top_k)), make_inputs(3, 6)
    mask = torch.ones(3, 6, dtype=torch.bool)
    mask[1] = False
    for masked in (replace(inputs, mask=mask), replace(inputs, mask=mask & False)):
        references = check_layer(layer, masked)
        assert not references[1].output.any()
        assert_finite_gradients(layer, masked)
        assert_finite_gradients(layer.float(), masked.to(torch.float32))
        layer = make_layer(config(kind, top_k=top_k))


@kinds
def test_one_token(kind: dict[str, Any]) -> None:
    layer, inputs = make_layer(config(kind)), make_inputs(1, 1, queries=1)
    check_layer(layer, inputs)
    assert_finite_gradients(layer, inputs)


@kinds
@pytest.mark.parametrize("seed", range(3))
def test_gradients_are_those_of_the_outputs(kind: dict[str, Any], seed: int) -> None:
    """Against finite differences, to every tensor and input (the kept set does not change within a step)."""
    layer = make_layer(config(kind, top_k=3), seed)
    inputs = make_inputs(2, 5, queries=2, seed=seed)
    mask = torch.tensor([[True] * 5, [False, True, True, True, True]])
    parameters = [parameter.requires_grad_() for _, parameter in sorted(layer.named_parameters())]

    def output(query: Tensor, key: Tensor, value: Tensor, *_: Tensor) -> Tensor:
        return layer.read(query, layer.nodes(key, value, mask))

    qkv = [part.clone().requires_grad_() for part in (inputs.query, inputs.key, inputs.value)]
    assert torch.autograd.gradcheck(output, (*qkv, *parameters), atol=1e-6, fast_mode=True)
