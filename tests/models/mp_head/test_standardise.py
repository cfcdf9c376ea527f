"""What a head measures before it is trained, and what that does to its inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from webrec.errors import ConfigurationError
from webrec.models.mp_head.config import MPHeadConfig
from webrec.models.mp_head.model import MPHead
from webrec.models.mp_head.standardise import Moments, Standardise

from .attached import TUNINGS, VIRTUAL, load, tokens, tuned

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(0, 99))
def test_moments_are_those_of_all_rows_together(counts: list[int], seed: int) -> None:
    parts = [1e3 + np.random.default_rng([seed, n]).normal(size=(count, 3)) for n, count in enumerate(counts)]
    moments = Moments()
    for part in parts:
        moments.add(torch.from_numpy(part))
    mean, variance = moments.mean_and_variance()
    rows = np.concatenate(parts)
    assert moments.count == len(rows)
    np.testing.assert_allclose(mean, rows.mean(0), rtol=1e-12)
    np.testing.assert_allclose(variance, rows.var(0), rtol=1e-8, atol=1e-12)


def test_a_channel_that_hardly_varies_is_not_blown_up() -> None:
    rows = torch.tensor([[1.0, 5.0], [3.0, 5.0]], dtype=torch.float64)
    moments = Moments()
    moments.add(rows)
    standardise = Standardise(2).double()
    standardise.set(moments)
    assert standardise(rows).tolist() == [[-1.0, 0.0], [1.0, 0.0]]
    assert float(standardise(torch.tensor([[2.0, 5.001]], dtype=torch.float64))[0, 1]) == pytest.approx(1.414, rel=1e-3)


def test_rows_that_are_all_the_same() -> None:
    moments = Moments()
    moments.add(torch.ones(3, 2))
    standardise = Standardise(2)
    standardise.set(moments)
    assert standardise(torch.ones(1, 2)).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("tuning", TUNINGS)
@pytest.mark.parametrize("rotary", [False, True])
def test_measured_inputs_have_mean_0_and_variance_1(tiny_llama: Path, rotary: bool, tuning: str) -> None:
    """Over the tokens of the prompts, and whatever the head's gate: it is measured before it adds anything."""
    llama = load(tiny_llama)
    model = tuned(llama, tuning).train()
    virtual = VIRTUAL if tuning == "prompt" else 0
    config = MPHeadConfig(kind="pairwise", layers=(0, 1), standardise=True, rotary=rotary)
    head = MPHead(config, llama.config).attach(model).double()
    prompts = [tokens(llama, 1, length, seed=length)[0].tolist() for length in (5, 9, 12)]
    assert head.measure(model, prompts) is head
    assert model.training
    assert head.training
    seen: dict[str, list[torch.Tensor]] = {}
    for number in config.layers:
        layer = head._head_layers()[number]
        for name, module in (("given", layer.given), ("asked", layer.asked)):
            assert isinstance(module, Standardise)
            module.register_forward_hook(
                lambda _module, _inputs, output, key=f"{name} {number}": seen.setdefault(key, []).append(
                    output.detach()[:, virtual:].flatten(0, -2)
                )
            )
    model.eval()
    for prompt in prompts:
        model(input_ids=torch.tensor([prompt]))
    assert len(seen) == 4
    for rows in (torch.cat(parts) for parts in seen.values()):
        assert len(rows) == 26
        torch.testing.assert_close(rows.mean(0), torch.zeros_like(rows[0]), rtol=0, atol=1e-9)
        torch.testing.assert_close(rows.var(0, unbiased=False), torch.ones_like(rows[0]), rtol=1e-6, atol=0)


def test_entities_of_a_constant_part_tell_tokens_apart() -> None:
    """Keys that are mostly one vector: as they are, all entities nearly point one way; standardised they do not."""
    from .cases import SHAPE, make_inputs, make_layer

    inputs = make_inputs(1, 40, seed=2)
    key = inputs.key + 10.0
    cosines = {}
    for standardise in (False, True):
        layer = make_layer(MPHeadConfig(kind="pairwise", standardise=standardise), 1)
        if layer.given is not None:
            moments = Moments()
            moments.add(torch.cat([key, inputs.value], -1)[0])
            layer.given.set(moments)
        entities = layer.entities(key, inputs.value)[0]
        unit = entities / entities.norm(dim=-1, keepdim=True)
        cosines[standardise] = float((unit @ unit.T).mean().detach())
    assert SHAPE.kv_heads == 2
    assert cosines[False] > 0.8
    assert abs(cosines[True]) < 0.2


def test_a_head_that_measured_nothing_is_not_trained(tiny_llama: Path) -> None:
    llama = load(tiny_llama)
    model = tuned(llama).train()
    head = MPHead(MPHeadConfig(layers=(1,), standardise=True), llama.config).attach(model).double()
    ids = tokens(llama, 1, 8)
    with pytest.raises(ConfigurationError, match="measure"):
        model(input_ids=ids, labels=ids)
    model.eval()(input_ids=ids)  # it adds nothing yet
    head.measure(model, [ids[0].tolist()])
    model.train()(input_ids=ids, labels=ids).loss.backward()


def test_what_was_measured_is_saved(tiny_llama: Path, tmp_path: Path) -> None:
    llama = load(tiny_llama)
    model = tuned(llama)
    head = MPHead(MPHeadConfig(layers=(1,), standardise=True), llama.config).attach(model)
    head.measure(model, [tokens(llama, 1, 8)[0].tolist()]).save_pretrained(tmp_path)
    head.detach()
    again = MPHead.from_pretrained(tmp_path)
    for name, tensor in head.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)
    standardise = again._head_layers()[1].given
    assert standardise is not None
    assert standardise.measured
    assert "standardised" in again.config.describe()


def test_refused(tiny_llama: Path) -> None:
    llama = load(tiny_llama)
    head = MPHead(MPHeadConfig(layers=(1,), standardise=True), llama.config)
    with pytest.raises(ConfigurationError, match="attach it"):
        head.measure(llama, [[4, 5]])
    model = tuned(llama)
    with pytest.raises(ValueError, match="prompts"):
        head.attach(model).measure(model, [])
    head.detach()
    with pytest.raises(ConfigurationError, match="set standardise"):
        MPHead(MPHeadConfig(layers=(1,)), llama.config).attach(model).measure(model, [[4, 5]])
