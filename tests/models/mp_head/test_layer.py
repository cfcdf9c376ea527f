"""Each kind of head, step by step, against the reference written from the equations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from webrec.models.mp_head.config import HeadShape, MPHeadConfig
from webrec.models.mp_head.layer import HeadLayer

from .cases import SHAPE, Inputs, assert_near, check_layer, make_inputs, make_layer, reference_of

ABLATIONS: list[dict[str, Any]] = [
    {},
    {"task_scale": False},
    {"relevance_bias": False},
    {"mixing": "identity"},
    {"mixing": "uniform"},
    {"learned_depth": False},
    {"task_feature": "zero"},
    {"standardise": True},
    {"standardise": True, "top_k": None},
]
configs = st.builds(
    MPHeadConfig,
    kind=st.sampled_from(["literal", "linear", "pairwise"]),
    hops=st.integers(1, 3),
    top_k=st.none() | st.integers(1, 12),
    self_loops=st.booleans(),
    task_feature=st.sampled_from(["tuned", "zero"]),
    task_scale=st.booleans(),
    relevance_bias=st.booleans(),
    mixing=st.sampled_from(["softmax", "identity", "uniform"]),
    learned_depth=st.booleans(),
    standardise=st.booleans(),
)


@pytest.mark.parametrize("top_k", [1, 3, 64, None])
@pytest.mark.parametrize("hops", [1, 2, 3])
@pytest.mark.parametrize("kind", ["literal", "literal without self loops", "linear", "pairwise"])
def test_every_step_equals_the_equations(kind: str, hops: int, top_k: int | None) -> None:
    name, *rest = kind.split(maxsplit=1)
    config = MPHeadConfig.model_validate({"kind": name, "hops": hops, "top_k": top_k, "self_loops": not rest})
    for seed in range(3):
        layer, inputs = make_layer(config, seed), make_inputs(3, 9, seed=seed, nodes=0.8)
        check_layer(layer, inputs)
        check_layer(layer.float(), inputs.to(torch.float32), 1e-4)


@pytest.mark.parametrize("ablation", ABLATIONS)
@pytest.mark.parametrize("kind", ["literal", "pairwise"])
def test_ablations(kind: str, ablation: dict[str, Any]) -> None:
    layer = make_layer(MPHeadConfig.model_validate({"kind": kind, "hops": 2, "top_k": 5} | ablation), 4)
    check_layer(layer, make_inputs(2, 9, seed=4))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(config=configs, data=st.data())
def test_any_shape_and_mask(config: MPHeadConfig, data: st.DataObject) -> None:
    integer = st.integers(1, 3)
    shape = HeadShape(data.draw(st.integers(1, 9)), 2 * data.draw(integer), data.draw(integer))
    batch, tokens, seed = data.draw(integer), data.draw(st.integers(1, 8)), data.draw(st.integers(0, 99))
    inputs = make_inputs(batch, tokens, data.draw(integer), seed, shape)
    rows = st.lists(st.booleans(), min_size=tokens, max_size=tokens)
    mask = torch.tensor(data.draw(st.lists(rows, min_size=batch, max_size=batch)))
    check_layer(make_layer(config, seed, shape), Inputs(inputs.query, inputs.key, inputs.value, mask))


@pytest.mark.parametrize("kind", ["literal", "linear", "pairwise"])
def test_more_nodes_asked_for_than_there_are(kind: str) -> None:
    inputs = make_inputs(2, 5)
    wide = make_layer(MPHeadConfig.model_validate({"kind": kind, "top_k": 64}))
    [reference, _] = check_layer(wide, inputs)
    assert reference.kept == list(range(5))


@pytest.mark.parametrize("kind", ["literal", "linear", "pairwise"])
@pytest.mark.parametrize("top_k", [2, None])
def test_rows_do_not_see_each_other_or_padding(kind: str, top_k: int | None) -> None:
    """The same nodes at the left, at the right and alone; padding holds anything, also huge numbers."""
    layer = make_layer(MPHeadConfig.model_validate({"kind": kind, "top_k": top_k, "hops": 2}))
    short, long = make_inputs(1, 4, seed=1), make_inputs(1, 7, seed=2)
    junk = 1e4 * make_inputs(1, 3, seed=3).key
    right = [torch.cat([part, junk], 1) for part in (short.key, short.value)]
    left = [torch.cat([junk, part], 1) for part in (short.key, short.value)]
    real, padding = torch.ones(1, 4, dtype=torch.bool), torch.zeros(1, 3, dtype=torch.bool)
    mask = torch.cat([torch.cat([real, padding], 1), torch.cat([padding, real], 1), long.mask, long.mask & False])
    keys, values = (torch.cat([r, lf, g, g]) for r, lf, g in zip(right, left, (long.key, long.value), strict=True))
    batch = Inputs(torch.cat([short.query, short.query, long.query, long.query]), keys, values, mask)
    with torch.no_grad():
        together = layer.read(batch.query, layer.nodes(batch.key, batch.value, batch.mask))
        alone = [layer.read(row.query, layer.nodes(row.key, row.value, row.mask)) for row in (short, long)]
    torch.testing.assert_close(together[:3], torch.cat([alone[0], alone[0], alone[1]]), rtol=1e-9, atol=1e-12)
    assert not together[3].any()


def test_a_new_layer_adds_nothing_and_can_learn() -> None:
    """The gate is 0 and nothing else is, apart from what starts at 0 by its definition."""
    for kind in ("literal", "linear", "pairwise"):
        config = MPHeadConfig.model_validate({"kind": kind, "hops": 2})
        layer = HeadLayer(config, SHAPE, make_layer(config).task.float())
        zero = {name for name, value in layer.named_parameters() if not value.any()}
        assert zero == {"gate"} | ({"messages.depth"} if kind == "pairwise" else set())
        inputs = make_inputs(2, 5).to(torch.float32)
        assert not layer.read(inputs.query, layer.nodes(inputs.key, inputs.value, inputs.mask)).any()


def test_the_relating_projections_start_at_the_stated_size() -> None:
    shape = HeadShape(hidden=8, head_dim=64, kv_heads=1)
    layer = HeadLayer(MPHeadConfig(kind="pairwise"), shape, make_layer(MPHeadConfig(), 0, shape).task)
    state = layer.state_dict()
    assert float(state["messages.beta"]) == 1
    for name in ("messages.source.weight", "messages.target.weight"):
        assert state[name].shape == (32, 128)
        assert float(state[name].std()) == pytest.approx(128**-0.5, rel=0.06)


def test_arithmetic_stays_float32_with_bfloat16_inputs() -> None:
    """As near to the equations as float32 is: no step is rounded to bfloat16, also where autocast would."""
    for kind in ("literal", "linear", "pairwise"):
        layer = make_layer(MPHeadConfig.model_validate({"kind": kind, "top_k": 4}), 5).float()
        inputs = make_inputs(2, 9, seed=5).to(torch.bfloat16)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = layer.read(inputs.query, layer.nodes(inputs.key, inputs.value, inputs.mask))
        for row in range(2):
            assert_near(output[row].detach(), reference_of(layer, inputs, row).output, 1e-5)
